-- The sessions of revisit, one row each. Times are in UTC.
--
-- A session that was merged into another one is a row with merged_into and without
-- data; a session that was forgotten is a row with forgotten and without data. A
-- question about visitors asks WHERE confirmed AND merged_into IS NULL AND NOT
-- forgotten: that is the view revisit_visitors.
CREATE TABLE IF NOT EXISTS revisit_sessions (
	id          uuid PRIMARY KEY,  -- UUIDv7: carries its time of birth
	version     bigint NOT NULL,   -- of the last write
	created     timestamptz NOT NULL,
	last_seen   timestamptz,
	last_hit    timestamptz,       -- the last page view
	visit_start timestamptz,       -- of the current or last visit
	expires     timestamptz NOT NULL,
	confirmed   boolean NOT NULL,  -- came back at least once
	forgotten   boolean NOT NULL,  -- a tombstone
	visits      bigint NOT NULL,
	hits        bigint NOT NULL,   -- page views
	via         text NOT NULL,     -- the strategy that recognised it last
	touches     jsonb,             -- what led here: the first and the latest fifteen
	"values"    jsonb,             -- of Session.Set: {"key": {"Text": ..., "At": ...}}
	merged_into uuid,
	merged_sessions     jsonb,             -- merged into this one: [{"ID", "Visits", "Hits", "NotifyPending"}]
	links_used       integer NOT NULL,
	conflicting_cookies      jsonb,
	probable_match      uuid,

	-- The first touch and the last one, for everyday questions.
	first_source   text GENERATED ALWAYS AS (touches -> 0 ->> 'Source') STORED,
	first_medium   text GENERATED ALWAYS AS (touches -> 0 ->> 'Medium') STORED,
	first_campaign text GENERATED ALWAYS AS (touches -> 0 ->> 'Campaign') STORED,
	first_landing  text GENERATED ALWAYS AS (touches -> 0 ->> 'Landing') STORED,
	first_referrer text GENERATED ALWAYS AS (touches -> 0 ->> 'Referrer') STORED,
	last_source    text GENERATED ALWAYS AS (touches -> -1 ->> 'Source') STORED,
	last_medium    text GENERATED ALWAYS AS (touches -> -1 ->> 'Medium') STORED,
	last_campaign  text GENERATED ALWAYS AS (touches -> -1 ->> 'Campaign') STORED,
	last_landing   text GENERATED ALWAYS AS (touches -> -1 ->> 'Landing') STORED,
	last_referrer  text GENERATED ALWAYS AS (touches -> -1 ->> 'Referrer') STORED
) WITH (fillfactor = 80); -- room for a changed row on its page

-- CREATE INDEX IF NOT EXISTS would wait for all who write to the table, and have everybody
-- else wait behind it, also where there is nothing to do.
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = 'revisit_sessions'::regclass AND c.relname = 'revisit_sessions_expires') THEN
		CREATE INDEX revisit_sessions_expires ON revisit_sessions (expires);
	END IF;
	-- What was merged into a session. Rows that were not merged cost nothing.
	IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = 'revisit_sessions'::regclass AND c.relname = 'revisit_sessions_merged_into') THEN
		CREATE INDEX revisit_sessions_merged_into ON revisit_sessions (merged_into) WHERE merged_into IS NOT NULL;
	END IF;
END $$;

CREATE OR REPLACE VIEW revisit_visitors AS
	SELECT id, created, last_seen, last_hit, visit_start, expires, visits, hits, via, touches, "values", merged_sessions, probable_match,
		first_source, first_medium, first_campaign, first_landing, first_referrer,
		last_source, last_medium, last_campaign, last_landing, last_referrer
	FROM revisit_sessions
	WHERE confirmed AND merged_into IS NULL AND NOT forgotten AND expires > now();
