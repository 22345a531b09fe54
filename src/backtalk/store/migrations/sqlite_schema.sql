CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE projects (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE TABLE interactions (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	time BIGINT, 
	user VARCHAR, 
	policy VARCHAR, 
	session VARCHAR, 
	prompt_key VARCHAR NOT NULL, 
	responses INTEGER NOT NULL, 
	received BIGINT NOT NULL, 
	deleted BIGINT, 
	body TEXT NOT NULL, distinct_responses INTEGER DEFAULT 1 NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_interactions_id UNIQUE (project, id), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE INDEX ix_interactions_order ON interactions (project, seq);
CREATE INDEX ix_interactions_user ON interactions (project, user) WHERE "user" IS NOT NULL;
CREATE TABLE feedback (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	interaction VARCHAR, 
	kind VARCHAR NOT NULL, 
	annotator VARCHAR NOT NULL, 
	annotator_kind VARCHAR NOT NULL, 
	aspect VARCHAR, 
	response VARCHAR, 
	other VARCHAR, 
	value FLOAT, 
	confidence FLOAT, 
	time BIGINT, 
	received BIGINT NOT NULL, 
	deleted BIGINT, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_feedback_id UNIQUE (project, id), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE INDEX ix_feedback_interaction ON feedback (project, interaction);
CREATE INDEX ix_feedback_order ON feedback (project, seq);
CREATE TABLE documents (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_documents_id UNIQUE (project, kind, id), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE api_keys (
	id VARCHAR NOT NULL, 
	project VARCHAR, 
	name VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	previous_digest VARCHAR, 
	previous_expires BIGINT, 
	created BIGINT NOT NULL, 
	revoked BIGINT, 
	PRIMARY KEY (id), 
	UNIQUE (digest)
);
CREATE TABLE audit (
	seq INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	project VARCHAR, 
	actor VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE jobs (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	created BIGINT NOT NULL, 
	not_before BIGINT NOT NULL, 
	attempts INTEGER NOT NULL, 
	ended BIGINT, 
	error TEXT, 
	result TEXT, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_jobs_id UNIQUE (project, id), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE INDEX ix_jobs_state ON jobs (project, kind, state);
CREATE TABLE leases (
	project INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	holder VARCHAR NOT NULL, 
	expires BIGINT NOT NULL, 
	term INTEGER NOT NULL, 
	PRIMARY KEY (project, name), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE assignments (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	task VARCHAR NOT NULL, 
	interaction VARCHAR NOT NULL, 
	annotator VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	opened BIGINT NOT NULL, 
	expires BIGINT NOT NULL, 
	ended BIGINT, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_assignments_once UNIQUE (project, task, interaction, annotator), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE INDEX ix_assignments_items ON assignments (project, task, interaction, state, expires, annotator);
CREATE INDEX ix_interactions_several ON interactions (project, seq) WHERE responses >= 2;
CREATE INDEX ix_interactions_session ON interactions (project, session, seq) WHERE session IS NOT NULL;
CREATE INDEX ix_assignments_annotator ON assignments (project, task, annotator, state);
CREATE TABLE "events" (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	topic VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	actor VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_events_number UNIQUE (project, topic, number), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE "pending_feedback" (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	interaction VARCHAR NOT NULL, 
	annotator VARCHAR NOT NULL, 
	received BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_pending_feedback_id UNIQUE (project, id), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE INDEX ix_pending_feedback_interaction ON pending_feedback (project, interaction);
CREATE TABLE memories (
	id INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	revision INTEGER NOT NULL, 
	rows BIGINT NOT NULL, 
	changes BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_memories_name UNIQUE (project, name), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE memory_entries (
	memory INTEGER NOT NULL, 
	"row" BIGINT NOT NULL, 
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	revision INTEGER NOT NULL, 
	superseded INTEGER, 
	body TEXT NOT NULL, 
	PRIMARY KEY (memory, "row"), 
	CONSTRAINT uq_memory_entries_id UNIQUE (memory, id), 
	FOREIGN KEY(memory) REFERENCES memories (id)
);
CREATE TABLE memory_links (
	memory INTEGER NOT NULL, 
	role VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	"row" BIGINT NOT NULL, 
	PRIMARY KEY (memory, role, name, "row"), 
	FOREIGN KEY(memory) REFERENCES memories (id)
);
CREATE TABLE memory_topics (
	memory INTEGER NOT NULL, 
	topic VARCHAR NOT NULL, 
	user VARCHAR NOT NULL, 
	"row" BIGINT NOT NULL, 
	PRIMARY KEY (memory, topic, user, "row"), 
	FOREIGN KEY(memory) REFERENCES memories (id)
);
CREATE TABLE memory_changes (
	memory INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	"row" BIGINT NOT NULL, 
	entry VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	revision INTEGER NOT NULL, 
	time BIGINT NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	"before" TEXT, 
	PRIMARY KEY (memory, number), 
	FOREIGN KEY(memory) REFERENCES memories (id)
);
CREATE INDEX ix_memory_entries_state ON memory_entries (memory, state, "row");
CREATE INDEX ix_memory_entries_kind ON memory_entries (memory, kind, state, "row");
CREATE INDEX ix_memory_entries_revision ON memory_entries (memory, revision, "row");
CREATE INDEX ix_memory_topics_row ON memory_topics (memory, "row");
CREATE INDEX ix_memory_changes_row ON memory_changes (memory, "row", number);
CREATE TABLE aggregates (
	seq INTEGER NOT NULL, 
	project INTEGER NOT NULL, 
	topic VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	version BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq), 
	CONSTRAINT uq_aggregates_key UNIQUE (project, topic, "key"), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE contents (
	project INTEGER NOT NULL, 
	digest VARCHAR NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (project, digest), 
	FOREIGN KEY(project) REFERENCES projects (id)
);
CREATE TABLE content_uses (
	project INTEGER NOT NULL, 
	interaction VARCHAR NOT NULL, 
	digest VARCHAR NOT NULL, 
	PRIMARY KEY (project, interaction, digest), 
	FOREIGN KEY(project, digest) REFERENCES contents (project, digest)
);
CREATE INDEX ix_content_uses_digest ON content_uses (project, digest);
