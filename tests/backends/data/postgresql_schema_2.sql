CREATE TABLE ostinato_attempts (
	job BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	executor_id TEXT NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	error TEXT, 
	exit_code BIGINT, 
	signal BIGINT, 
	cpu BIGINT, 
	peak_memory BIGINT, 
	log TEXT, 
	PRIMARY KEY (job, number)
);
CREATE TABLE ostinato_entries (
	kind VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	PRIMARY KEY (kind, name)
);
CREATE TABLE ostinato_executors (
	id TEXT NOT NULL, 
	lease_until BIGINT NOT NULL, 
	info TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE ostinato_holders (
	key TEXT NOT NULL, 
	job BIGINT NOT NULL, 
	PRIMARY KEY (key)
);
CREATE INDEX ostinato_holders_job ON ostinato_holders (job);
CREATE TABLE ostinato_jobs (
	seq BIGINT NOT NULL, 
	id TEXT NOT NULL, 
	lane BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	priority BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	run_at BIGINT NOT NULL, 
	promote_at BIGINT, 
	expires_at BIGINT, 
	posted_at BIGINT NOT NULL, 
	token BIGINT DEFAULT '0' NOT NULL, 
	attempt BIGINT DEFAULT '0' NOT NULL, 
	charged BIGINT DEFAULT '0' NOT NULL, 
	deaths BIGINT DEFAULT '0' NOT NULL, 
	cancelling BIGINT DEFAULT '0' NOT NULL, 
	executor_id TEXT, 
	lease_until BIGINT, 
	started_at BIGINT, 
	ended_at BIGINT, 
	reason TEXT DEFAULT ('') NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	front INTEGER NOT NULL, 
	asked_priority BIGINT NOT NULL, 
	asked_run_at BIGINT NOT NULL, 
	asked_expires_at BIGINT, 
	deadline BIGINT, 
	schedule TEXT, 
	tick BIGINT, 
	parent TEXT, 
	uniqueness TEXT, 
	tags TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	args TEXT NOT NULL, 
	result TEXT, 
	error TEXT, 
	PRIMARY KEY (seq)
);
CREATE INDEX ostinato_ended ON ostinato_jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX ostinato_expiring ON ostinato_jobs (expires_at) WHERE expires_at IS NOT NULL AND attempt = 0 AND ended_at IS NULL;
CREATE INDEX ostinato_final ON ostinato_jobs (state, seq) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX ostinato_id ON ostinato_jobs (id);
CREATE INDEX ostinato_ready ON ostinato_jobs (lane, priority DESC, position) WHERE state = 'ready';
CREATE INDEX ostinato_rising ON ostinato_jobs (promote_at) WHERE promote_at IS NOT NULL AND priority < 100 AND state IN ('ready', 'scheduled');
CREATE INDEX ostinato_running ON ostinato_jobs (lease_until, executor_id, lane) WHERE state = 'running';
CREATE INDEX ostinato_scheduled ON ostinato_jobs (run_at) WHERE state = 'scheduled';
CREATE TABLE ostinato_lanes (
	id BIGINT NOT NULL, 
	queue TEXT NOT NULL, 
	task TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	slots BIGINT NOT NULL, 
	holds TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE ostinato_limits (
	name TEXT NOT NULL, 
	capacity BIGINT, 
	starts BIGINT, 
	per BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE ostinato_notes (
	job BIGINT NOT NULL, 
	key VARCHAR(64) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (job, key)
);
CREATE TABLE ostinato_starts (
	name TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	jobs BIGINT NOT NULL, 
	PRIMARY KEY (name, at)
);
CREATE TABLE ostinato_tags (
	tag TEXT NOT NULL, 
	job BIGINT NOT NULL, 
	PRIMARY KEY (tag, job)
);
CREATE INDEX ostinato_tags_job ON ostinato_tags (job);
CREATE TABLE ostinato_ticks (
	schedule TEXT NOT NULL, 
	due BIGINT NOT NULL, 
	PRIMARY KEY (schedule)
);
CREATE SEQUENCE ostinato_seq;
CREATE TABLE ostinato_meta (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO ostinato_meta (name, value) VALUES ('schema', '2');
