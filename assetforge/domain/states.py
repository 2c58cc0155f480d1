"""The few fixed states; labels on them are free."""

from typing import Literal, get_args

__all__ = [
    "DRIFT_OUTCOMES",
    "JOB_KINDS",
    "JOB_STATES",
    "OPEN_JOB_STATES",
    "REFERENCE_STATES",
    "RUN_STATES",
    "SPLITS",
    "VERSION_STAGES",
    "VOTE_CHOICES",
    "WATCHED_FILE_STATES",
    "WATCH_ROOT_STATES",
    "DriftOutcome",
    "JobKind",
    "JobState",
    "ReferenceState",
    "RunState",
    "Split",
    "VersionStage",
    "VoteChoice",
    "WatchRootState",
    "WatchedFileState",
]

RunState = Literal["queued", "staging", "running", "collecting", "succeeded", "failed", "cancelled", "lost"]
JobState = RunState
JobKind = Literal["train", "render", "score"]
VersionStage = Literal["candidate", "approved", "rejected", "retired"]
ReferenceState = Literal["active", "excluded"]
Split = Literal["train", "held_out"]
WatchRootState = Literal["ok", "lost", "problem"]
WatchedFileState = Literal["taken", "beside", "quarantined", "discarded"]
"""``beside`` are captions and masks that belong to a picture."""

VoteChoice = Literal["new", "baseline", "tie"]
DriftOutcome = Literal["queued", "same", "engine", "base", "lora", "unexplained", "failed"]
"""What a second rendering showed: the same pictures, or what changed between the two."""

RUN_STATES: tuple[str, ...] = get_args(RunState)
JOB_STATES: tuple[str, ...] = RUN_STATES
OPEN_JOB_STATES: tuple[str, ...] = ("queued", "staging", "running", "collecting")
JOB_KINDS: tuple[str, ...] = get_args(JobKind)
VERSION_STAGES: tuple[str, ...] = get_args(VersionStage)
REFERENCE_STATES: tuple[str, ...] = get_args(ReferenceState)
SPLITS: tuple[str, ...] = get_args(Split)
WATCH_ROOT_STATES: tuple[str, ...] = get_args(WatchRootState)
WATCHED_FILE_STATES: tuple[str, ...] = get_args(WatchedFileState)
VOTE_CHOICES: tuple[str, ...] = get_args(VoteChoice)
DRIFT_OUTCOMES: tuple[str, ...] = get_args(DriftOutcome)
