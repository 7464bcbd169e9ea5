CREATE TABLE ostinato_attempts (
	job BIGINT NOT NULL, 
	number BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	executor_id VARCHAR(255) NOT NULL, 
	outcome VARCHAR(16) NOT NULL, 
	started_at BIGINT NOT NULL, 
	ended_at BIGINT NOT NULL, 
	reason LONGTEXT NOT NULL, 
	error LONGTEXT, 
	exit_code BIGINT, 
	`signal` BIGINT, 
	cpu BIGINT, 
	peak_memory BIGINT, 
	log LONGTEXT, 
	PRIMARY KEY (job, number)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_entries (
	kind VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value LONGTEXT NOT NULL, 
	version BIGINT NOT NULL, 
	PRIMARY KEY (kind, name)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_executors (
	id VARCHAR(255) NOT NULL, 
	lease_until BIGINT NOT NULL, 
	info LONGTEXT NOT NULL, 
	PRIMARY KEY (id)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_holders (
	`key` VARCHAR(255) NOT NULL, 
	job BIGINT NOT NULL, 
	PRIMARY KEY (`key`)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX ostinato_holders_job ON ostinato_holders (job);
CREATE TABLE ostinato_jobs (
	seq BIGINT NOT NULL, 
	id VARCHAR(255) NOT NULL, 
	lane BIGINT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	priority BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	run_at BIGINT NOT NULL, 
	promote_at BIGINT, 
	expires_at BIGINT, 
	posted_at BIGINT NOT NULL, 
	token BIGINT NOT NULL DEFAULT '0', 
	attempt BIGINT NOT NULL DEFAULT '0', 
	charged BIGINT NOT NULL DEFAULT '0', 
	deaths BIGINT NOT NULL DEFAULT '0', 
	cancelling BIGINT NOT NULL DEFAULT '0', 
	executor_id VARCHAR(255), 
	lease_until BIGINT, 
	started_at BIGINT, 
	ended_at BIGINT, 
	reason LONGTEXT NOT NULL DEFAULT (''), 
	kind VARCHAR(16) NOT NULL, 
	front INTEGER NOT NULL, 
	asked_priority BIGINT NOT NULL, 
	asked_run_at BIGINT NOT NULL, 
	asked_expires_at BIGINT, 
	deadline BIGINT, 
	schedule LONGTEXT, 
	tick BIGINT, 
	parent VARCHAR(255), 
	uniqueness LONGTEXT, 
	tags LONGTEXT NOT NULL, 
	policy LONGTEXT NOT NULL, 
	args LONGTEXT NOT NULL, 
	result LONGTEXT, 
	error LONGTEXT, 
	PRIMARY KEY (seq)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX ostinato_expiring ON ostinato_jobs (ended_at, attempt, expires_at);
CREATE INDEX ostinato_final ON ostinato_jobs (state, seq);
CREATE UNIQUE INDEX ostinato_id ON ostinato_jobs (id);
CREATE INDEX ostinato_ready ON ostinato_jobs (state, lane, priority DESC, position);
CREATE INDEX ostinato_running ON ostinato_jobs (state, lease_until, executor_id, lane);
CREATE INDEX ostinato_scheduled ON ostinato_jobs (state, run_at);
CREATE TABLE ostinato_lanes (
	id BIGINT NOT NULL, 
	queue LONGTEXT NOT NULL, 
	task LONGTEXT NOT NULL, 
	version BIGINT NOT NULL, 
	slots BIGINT NOT NULL, 
	holds LONGTEXT NOT NULL, 
	PRIMARY KEY (id)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_limits (
	name VARCHAR(255) NOT NULL, 
	capacity BIGINT, 
	starts BIGINT, 
	per BIGINT, 
	PRIMARY KEY (name)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_notes (
	job BIGINT NOT NULL, 
	`key` VARCHAR(64) NOT NULL, 
	value LONGTEXT NOT NULL, 
	PRIMARY KEY (job, `key`)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_starts (
	name VARCHAR(255) NOT NULL, 
	at BIGINT NOT NULL, 
	jobs BIGINT NOT NULL, 
	PRIMARY KEY (name, at)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE TABLE ostinato_tags (
	tag VARCHAR(255) NOT NULL, 
	job BIGINT NOT NULL, 
	PRIMARY KEY (tag, job)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE INDEX ostinato_tags_job ON ostinato_tags (job);
CREATE TABLE ostinato_ticks (
	schedule VARCHAR(255) NOT NULL, 
	due BIGINT NOT NULL, 
	PRIMARY KEY (schedule)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
ALTER TABLE ostinato_jobs ADD COLUMN rises_at BIGINT GENERATED ALWAYS AS (CASE WHEN promote_at IS NOT NULL AND priority < 100 AND state IN ('ready', 'scheduled') THEN promote_at END) VIRTUAL;
CREATE INDEX ostinato_rising ON ostinato_jobs (rises_at);
CREATE TABLE ostinato_seq (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY);
CREATE TABLE ostinato_wakes (who CHAR(8) NOT NULL, channel CHAR(1) NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (who, channel));
CREATE TABLE ostinato_meta (
	name VARCHAR(255) NOT NULL, 
	value LONGTEXT NOT NULL, 
	PRIMARY KEY (name)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
INSERT INTO ostinato_meta (name, value) VALUES ('schema', '2');
