CREATE TABLE ostinato_attempts (
	job INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	token INTEGER NOT NULL, 
	executor_id VARCHAR(255) NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	started_at INTEGER NOT NULL, 
	ended_at INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	error TEXT, 
	exit_code INTEGER, 
	signal INTEGER, 
	cpu INTEGER, 
	peak_memory INTEGER, 
	log TEXT, 
	PRIMARY KEY (job, number)
)
 WITHOUT ROWID;
CREATE TABLE ostinato_entries (
	kind VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (kind, name)
)
 WITHOUT ROWID;
CREATE TABLE ostinato_executors (
	id VARCHAR(255) NOT NULL, 
	lease_until INTEGER NOT NULL, 
	info TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE ostinato_holders (
	"key" VARCHAR(255) NOT NULL, 
	job INTEGER NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID;
CREATE INDEX ostinato_holders_job ON ostinato_holders (job);
CREATE TABLE ostinato_jobs (
	seq INTEGER NOT NULL, 
	id VARCHAR(255) NOT NULL, 
	lane INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	priority INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	run_at INTEGER NOT NULL, 
	promote_at INTEGER, 
	expires_at INTEGER, 
	posted_at INTEGER NOT NULL, 
	token INTEGER DEFAULT '0' NOT NULL, 
	attempt INTEGER DEFAULT '0' NOT NULL, 
	charged INTEGER DEFAULT '0' NOT NULL, 
	deaths INTEGER DEFAULT '0' NOT NULL, 
	cancelling INTEGER DEFAULT '0' NOT NULL, 
	executor_id VARCHAR(255), 
	lease_until INTEGER, 
	started_at INTEGER, 
	ended_at INTEGER, 
	reason TEXT DEFAULT ('') NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	front INTEGER NOT NULL, 
	asked_priority INTEGER NOT NULL, 
	asked_run_at INTEGER NOT NULL, 
	asked_expires_at INTEGER, 
	deadline INTEGER, 
	schedule TEXT, 
	tick INTEGER, 
	parent VARCHAR(255), 
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
	id INTEGER NOT NULL, 
	queue TEXT NOT NULL, 
	task TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	slots INTEGER NOT NULL, 
	holds TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE ostinato_limits (
	name VARCHAR(255) NOT NULL, 
	capacity INTEGER, 
	starts INTEGER, 
	per INTEGER, 
	PRIMARY KEY (name)
);
CREATE TABLE ostinato_notes (
	job INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (job, "key")
)
 WITHOUT ROWID;
CREATE TABLE ostinato_starts (
	name VARCHAR(255) NOT NULL, 
	at INTEGER NOT NULL, 
	jobs INTEGER NOT NULL, 
	PRIMARY KEY (name, at)
)
 WITHOUT ROWID;
CREATE TABLE ostinato_tags (
	tag VARCHAR(255) NOT NULL, 
	job INTEGER NOT NULL, 
	PRIMARY KEY (tag, job)
)
 WITHOUT ROWID;
CREATE INDEX ostinato_tags_job ON ostinato_tags (job);
CREATE TABLE ostinato_ticks (
	schedule VARCHAR(255) NOT NULL, 
	due INTEGER NOT NULL, 
	PRIMARY KEY (schedule)
)
 WITHOUT ROWID;
CREATE TABLE ostinato_meta (
	name VARCHAR(255) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO ostinato_meta (name, value) VALUES ('schema', '2');
