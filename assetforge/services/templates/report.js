"use strict";
{% include "report_pictures.js" %}
{% include "report_votes.js" %}
{% include "report_viewer.js" %}
