BEGIN TRANSACTION;
CREATE TABLE activity (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR NOT NULL, 
	verb VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	detail JSON DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_activity PRIMARY KEY (id)
);
INSERT INTO "activity" VALUES(1,'2026-03-01 12:00:00.000000','me','added','mara','{}');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE alias (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	version_id INTEGER NOT NULL, 
	CONSTRAINT pk_alias PRIMARY KEY (id), 
	CONSTRAINT fk_alias_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_alias_version_id_version FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_alias_asset_id_name UNIQUE (asset_id, name)
);
INSERT INTO "alias" VALUES(1,1,'approved',1);
CREATE TABLE alias_move (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	from_version_id INTEGER, 
	to_version_id INTEGER, 
	actor VARCHAR NOT NULL, 
	why VARCHAR NOT NULL, 
	evidence JSON DEFAULT '{}' NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_alias_move PRIMARY KEY (id), 
	CONSTRAINT fk_alias_move_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_alias_move_from_version_id_version FOREIGN KEY(from_version_id) REFERENCES version (id), 
	CONSTRAINT fk_alias_move_to_version_id_version FOREIGN KEY(to_version_id) REFERENCES version (id)
);
INSERT INTO "alias_move" VALUES(1,1,'approved',NULL,1,'me','good','{"x": 1}','2026-03-01 12:00:00.000000');
CREATE TABLE asset (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	"trigger" VARCHAR NOT NULL, 
	class_word VARCHAR NOT NULL, 
	description VARCHAR NOT NULL, 
	recipe VARCHAR NOT NULL, 
	suite VARCHAR NOT NULL, 
	settings JSON DEFAULT '{}' NOT NULL, 
	created_at DATETIME NOT NULL, 
	archived_at DATETIME, 
	CONSTRAINT pk_asset PRIMARY KEY (id), 
	CONSTRAINT uq_asset_name UNIQUE (name)
);
INSERT INTO "asset" VALUES(1,'mara','character','mara','character','','','','{}','2026-03-01 12:00:00.000000',NULL);
INSERT INTO "asset" VALUES(2,'brass-lamp','prop','brasslamp','prop','','','','{}','2026-03-01 12:00:00.000000',NULL);
CREATE TABLE base_model (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	family VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	resolution INTEGER NOT NULL, 
	licence VARCHAR NOT NULL, 
	registered_at DATETIME NOT NULL, 
	CONSTRAINT pk_base_model PRIMARY KEY (id), 
	CONSTRAINT uq_base_model_digest UNIQUE (digest)
);
INSERT INTO "base_model" VALUES(1,'toybox','sd15','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','',64,'','2026-03-01 12:00:00.000000');
CREATE TABLE caption_edit (
	id INTEGER NOT NULL, 
	reference_id INTEGER NOT NULL, 
	text VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	author VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_caption_edit PRIMARY KEY (id), 
	CONSTRAINT fk_caption_edit_reference_id_reference FOREIGN KEY(reference_id) REFERENCES reference (id)
);
INSERT INTO "caption_edit" VALUES(1,1,'mara, café 0','sidecar','me','2026-03-01 12:00:00.000000');
CREATE TABLE comparison (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	baseline_id INTEGER, 
	evaluation_id INTEGER NOT NULL, 
	baseline_evaluation_id INTEGER, 
	control_evaluation_id INTEGER, 
	job_id INTEGER, 
	state VARCHAR NOT NULL, 
	summary JSON DEFAULT '{}' NOT NULL, 
	scores VARCHAR NOT NULL, 
	report VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_comparison PRIMARY KEY (id), 
	CONSTRAINT fk_comparison_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_comparison_baseline_evaluation_id_evaluation FOREIGN KEY(baseline_evaluation_id) REFERENCES evaluation (id), 
	CONSTRAINT fk_comparison_baseline_id_version FOREIGN KEY(baseline_id) REFERENCES version (id), 
	CONSTRAINT fk_comparison_control_evaluation_id_evaluation FOREIGN KEY(control_evaluation_id) REFERENCES evaluation (id), 
	CONSTRAINT fk_comparison_evaluation_id_evaluation FOREIGN KEY(evaluation_id) REFERENCES evaluation (id), 
	CONSTRAINT fk_comparison_job_id_job FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT fk_comparison_version_id_version FOREIGN KEY(version_id) REFERENCES version (id)
);
INSERT INTO "comparison" VALUES(1,1,1,NULL,1,NULL,NULL,NULL,'queued','{}','','','2026-03-01 12:00:00.000000');
CREATE TABLE dataset_item (
	dataset_id INTEGER NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	caption VARCHAR NOT NULL, 
	crop VARCHAR NOT NULL, 
	repeats INTEGER NOT NULL, 
	split VARCHAR NOT NULL, 
	CONSTRAINT pk_dataset_item PRIMARY KEY (dataset_id, sha256), 
	CONSTRAINT ck_dataset_item_split_known CHECK (split IN ('train', 'held_out')), 
	CONSTRAINT fk_dataset_item_dataset_id_dataset_version FOREIGN KEY(dataset_id) REFERENCES dataset_version (id), 
	CONSTRAINT fk_dataset_item_sha256_image FOREIGN KEY(sha256) REFERENCES image (sha256)
)
 WITHOUT ROWID

;
INSERT INTO "dataset_item" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000000','c','',1,'train');
INSERT INTO "dataset_item" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000001','c','',1,'train');
INSERT INTO "dataset_item" VALUES(1,'0000000000000000000000000000000000000000000000000000000000000002','c','',1,'held_out');
CREATE TABLE dataset_version (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	tree_hash VARCHAR NOT NULL, 
	parent_id INTEGER, 
	train_count INTEGER NOT NULL, 
	held_out_count INTEGER NOT NULL, 
	note VARCHAR NOT NULL, 
	created_by VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_dataset_version PRIMARY KEY (id), 
	CONSTRAINT fk_dataset_version_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_dataset_version_parent_id_dataset_version FOREIGN KEY(parent_id) REFERENCES dataset_version (id), 
	CONSTRAINT uq_dataset_version_asset_id_number UNIQUE (asset_id, number)
);
INSERT INTO "dataset_version" VALUES(1,1,1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',NULL,2,1,'','','2026-03-01 12:00:00.000000');
CREATE TABLE engine (
	id INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	record JSON NOT NULL, 
	CONSTRAINT pk_engine PRIMARY KEY (id), 
	CONSTRAINT uq_engine_digest UNIQUE (digest)
);
INSERT INTO "engine" VALUES(1,'1111111111111111111111111111111111111111111111111111111111111111','{}');
CREATE TABLE evaluation (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	version_id INTEGER, 
	suite_id INTEGER NOT NULL, 
	base_model_id INTEGER NOT NULL, 
	renderer VARCHAR NOT NULL, 
	plan_digest VARCHAR NOT NULL, 
	"plan" JSON NOT NULL, 
	state VARCHAR NOT NULL, 
	job_id INTEGER, 
	engine_id INTEGER, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, 
	CONSTRAINT pk_evaluation PRIMARY KEY (id), 
	CONSTRAINT ck_evaluation_state_known CHECK (state IN ('queued', 'staging', 'running', 'collecting', 'succeeded', 'failed', 'cancelled', 'lost')), 
	CONSTRAINT fk_evaluation_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_evaluation_base_model_id_base_model FOREIGN KEY(base_model_id) REFERENCES base_model (id), 
	CONSTRAINT fk_evaluation_engine_id_engine FOREIGN KEY(engine_id) REFERENCES engine (id), 
	CONSTRAINT fk_evaluation_job_id_job FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT fk_evaluation_suite_id_suite FOREIGN KEY(suite_id) REFERENCES suite (id), 
	CONSTRAINT fk_evaluation_version_id_version FOREIGN KEY(version_id) REFERENCES version (id), 
	CONSTRAINT uq_evaluation_plan_digest UNIQUE (plan_digest)
);
INSERT INTO "evaluation" VALUES(1,1,1,1,1,'r','2222222222222222222222222222222222222222222222222222222222222222','{}','succeeded',NULL,1,'2026-03-01 12:00:00.000000',NULL);
CREATE TABLE image (
	sha256 VARCHAR NOT NULL, 
	size INTEGER NOT NULL, 
	format VARCHAR NOT NULL, 
	mode VARCHAR NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	orientation INTEGER NOT NULL, 
	bits INTEGER NOT NULL, 
	has_alpha BOOLEAN NOT NULL, 
	has_profile BOOLEAN NOT NULL, 
	phash BIGINT NOT NULL, 
	sharpness FLOAT NOT NULL, 
	brightness FLOAT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_image PRIMARY KEY (sha256)
);
INSERT INTO "image" VALUES('0000000000000000000000000000000000000000000000000000000000000000',10,'PNG','RGB',64,64,1,8,0,0,0,1.5,0.0,'2026-03-01 12:00:00.000000');
INSERT INTO "image" VALUES('0000000000000000000000000000000000000000000000000000000000000001',11,'PNG','RGB',64,64,1,8,0,0,-1,1.5,0.0,'2026-03-01 12:00:00.000000');
INSERT INTO "image" VALUES('0000000000000000000000000000000000000000000000000000000000000002',12,'PNG','RGB',64,64,1,8,0,0,-2,1.5,0.0,'2026-03-01 12:00:00.000000');
CREATE TABLE job (
	id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	run_id INTEGER, 
	payload JSON NOT NULL, 
	priority INTEGER NOT NULL, 
	executor VARCHAR NOT NULL, 
	device VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	max_attempts INTEGER NOT NULL, 
	owner VARCHAR NOT NULL, 
	lease_until FLOAT NOT NULL, 
	not_before FLOAT NOT NULL, 
	cancel_requested BOOLEAN NOT NULL, 
	bundle_id VARCHAR NOT NULL, 
	slot VARCHAR NOT NULL, 
	handle JSON DEFAULT '{}' NOT NULL, 
	dedupe_key VARCHAR NOT NULL, 
	requested_by VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	finished_at FLOAT, 
	CONSTRAINT pk_job PRIMARY KEY (id), 
	CONSTRAINT ck_job_kind_known CHECK (kind IN ('train', 'render', 'score')), 
	CONSTRAINT ck_job_state_known CHECK (state IN ('queued', 'staging', 'running', 'collecting', 'succeeded', 'failed', 'cancelled', 'lost')), 
	CONSTRAINT fk_job_run_id_run FOREIGN KEY(run_id) REFERENCES run (id)
);
INSERT INTO "job" VALUES(1,'train','succeeded','',1,'{"run": 1}',0,'local','auto',0,3,'',0.0,0.0,0,'','','{}','','','',1.0,NULL,2.0);
CREATE TABLE job_attempt (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	executor VARCHAR NOT NULL, 
	slot VARCHAR NOT NULL, 
	handle JSON DEFAULT '{}' NOT NULL, 
	outcome VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	started_at FLOAT NOT NULL, 
	finished_at FLOAT, 
	CONSTRAINT pk_job_attempt PRIMARY KEY (id), 
	CONSTRAINT fk_job_attempt_job_id_job FOREIGN KEY(job_id) REFERENCES job (id), 
	CONSTRAINT uq_job_attempt_job_id_number UNIQUE (job_id, number)
);
INSERT INTO "job_attempt" VALUES(1,1,1,'local','','{}','','',1.0,NULL);
CREATE TABLE meta (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	CONSTRAINT pk_meta PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('project_id','5b0c9d0e-6a53-4f0e-9a55-2f1d6a1f7a10');
INSERT INTO "meta" VALUES('name','old-film');
CREATE TABLE publication (
	id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	path VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_publication PRIMARY KEY (id), 
	CONSTRAINT fk_publication_version_id_version FOREIGN KEY(version_id) REFERENCES version (id)
);
INSERT INTO "publication" VALUES(1,1,'loras/x','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','','2026-03-01 12:00:00.000000');
CREATE TABLE reference (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	excluded_reason VARCHAR NOT NULL, 
	file_name VARCHAR NOT NULL, 
	origin VARCHAR NOT NULL, 
	rights VARCHAR NOT NULL, 
	caption VARCHAR NOT NULL, 
	caption_source VARCHAR NOT NULL, 
	crop VARCHAR NOT NULL, 
	repeats INTEGER NOT NULL, 
	split VARCHAR NOT NULL, 
	near_group INTEGER, 
	added_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_reference PRIMARY KEY (id), 
	CONSTRAINT ck_reference_split_known CHECK (split IN ('train', 'held_out', '')), 
	CONSTRAINT ck_reference_state_known CHECK (state IN ('active', 'excluded')), 
	CONSTRAINT fk_reference_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_reference_sha256_image FOREIGN KEY(sha256) REFERENCES image (sha256), 
	CONSTRAINT uq_reference_asset_id_sha256 UNIQUE (asset_id, sha256)
);
INSERT INTO "reference" VALUES(1,1,'0000000000000000000000000000000000000000000000000000000000000000','active','','','','','mara, café 0','','',1,'',NULL,'2026-03-01 12:00:00.000000','2026-03-01 12:00:00.000000');
INSERT INTO "reference" VALUES(2,1,'0000000000000000000000000000000000000000000000000000000000000001','active','','','','','mara, café 1','','',1,'',NULL,'2026-03-01 12:00:00.000000','2026-03-01 12:00:00.000000');
INSERT INTO "reference" VALUES(3,1,'0000000000000000000000000000000000000000000000000000000000000002','active','','','','','mara, café 2','','',1,'',NULL,'2026-03-01 12:00:00.000000','2026-03-01 12:00:00.000000');
CREATE TABLE render (
	id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	cell_index INTEGER NOT NULL, 
	block VARCHAR NOT NULL, 
	prompt VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	strength FLOAT NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	seconds FLOAT NOT NULL, 
	CONSTRAINT pk_render PRIMARY KEY (id), 
	CONSTRAINT fk_render_evaluation_id_evaluation FOREIGN KEY(evaluation_id) REFERENCES evaluation (id), 
	CONSTRAINT uq_render_evaluation_id_cell_index UNIQUE (evaluation_id, cell_index)
);
INSERT INTO "render" VALUES(1,1,0,'core','mara',1,1.0,'3333333333333333333333333333333333333333333333333333333333333333',0.0);
CREATE TABLE run (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	dataset_id INTEGER NOT NULL, 
	base_model_id INTEGER NOT NULL, 
	recipe VARCHAR NOT NULL, 
	trainer VARCHAR NOT NULL, 
	trainer_version VARCHAR NOT NULL, 
	plugin VARCHAR NOT NULL, 
	plugin_version VARCHAR NOT NULL, 
	params JSON NOT NULL, 
	recipe_key VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	requested_by VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	metrics JSON DEFAULT '{}' NOT NULL, 
	engine JSON DEFAULT '{}' NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	finished_at DATETIME, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT ck_run_state_known CHECK (state IN ('queued', 'staging', 'running', 'collecting', 'succeeded', 'failed', 'cancelled', 'lost')), 
	CONSTRAINT fk_run_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_run_base_model_id_base_model FOREIGN KEY(base_model_id) REFERENCES base_model (id), 
	CONSTRAINT fk_run_dataset_id_dataset_version FOREIGN KEY(dataset_id) REFERENCES dataset_version (id)
);
INSERT INTO "run" VALUES(1,1,1,1,'character','t','1','p','1','{"rank": 8}','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',1,'succeeded','by hand','','','{}','{}','2026-03-01 12:00:00.000000',NULL,NULL);
CREATE TABLE suite (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	definition JSON NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_suite PRIMARY KEY (id), 
	CONSTRAINT uq_suite_name_digest UNIQUE (name, digest)
);
INSERT INTO "suite" VALUES(1,'core','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','{}','2026-03-01 12:00:00.000000');
CREATE TABLE version (
	id INTEGER NOT NULL, 
	asset_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	run_id INTEGER, 
	parent_id INTEGER, 
	family VARCHAR NOT NULL, 
	stage VARCHAR NOT NULL, 
	weights VARCHAR NOT NULL, 
	diffusers VARCHAR NOT NULL, 
	tensor_hash VARCHAR NOT NULL, 
	step INTEGER NOT NULL, 
	origin VARCHAR NOT NULL, 
	note VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_version PRIMARY KEY (id), 
	CONSTRAINT ck_version_stage_known CHECK (stage IN ('candidate', 'approved', 'rejected', 'retired')), 
	CONSTRAINT fk_version_asset_id_asset FOREIGN KEY(asset_id) REFERENCES asset (id), 
	CONSTRAINT fk_version_parent_id_version FOREIGN KEY(parent_id) REFERENCES version (id), 
	CONSTRAINT fk_version_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT uq_version_asset_id_number UNIQUE (asset_id, number)
);
INSERT INTO "version" VALUES(1,1,1,1,NULL,'sd15','candidate','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',300,'','','2026-03-01 12:00:00.000000');
CREATE INDEX ix_activity_at ON activity (at);
CREATE INDEX ix_asset_type ON asset (type);
CREATE INDEX ix_suite_name ON suite (name);
CREATE INDEX ix_dataset_version_tree_hash ON dataset_version (tree_hash);
CREATE INDEX ix_reference_asset_state ON reference (asset_id, state, sha256);
CREATE INDEX ix_reference_sha256 ON reference (sha256);
CREATE INDEX ix_caption_edit_reference_id ON caption_edit (reference_id);
CREATE INDEX ix_run_asset_id ON run (asset_id);
CREATE INDEX ix_run_recipe_key ON run (recipe_key);
CREATE INDEX ix_run_state ON run (state);
CREATE INDEX ix_job_queue ON job (state, priority, id);
CREATE INDEX ix_job_run_id ON job (run_id);
CREATE UNIQUE INDEX uq_job_dedupe_key_open ON job (dedupe_key) WHERE dedupe_key != '' AND state IN ('queued','staging','running','collecting');
CREATE INDEX ix_version_tensor_hash ON version (tensor_hash);
CREATE UNIQUE INDEX uq_version_run_step ON version (run_id, step) WHERE run_id IS NOT NULL;
CREATE INDEX ix_alias_move_asset_id ON alias_move (asset_id);
CREATE INDEX ix_evaluation_asset_id ON evaluation (asset_id);
CREATE INDEX ix_evaluation_job_id ON evaluation (job_id);
CREATE INDEX ix_evaluation_version_id ON evaluation (version_id);
CREATE INDEX ix_publication_version_id ON publication (version_id);
CREATE INDEX ix_comparison_asset_id ON comparison (asset_id);
CREATE INDEX ix_comparison_version_id ON comparison (version_id);
CREATE INDEX ix_render_sha256 ON render (sha256);
COMMIT;
