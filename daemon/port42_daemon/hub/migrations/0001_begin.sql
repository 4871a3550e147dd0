-- The log of sessions, as every machine of an owner has it. An owner is a role of PostgreSQL.
CREATE TABLE port42.owners (
  owner text PRIMARY KEY,
  changes bigint NOT NULL DEFAULT 0  -- counts the owner's transactions; its row lock gives them one order
);

CREATE TABLE port42.machines (
  owner text NOT NULL, machine uuid NOT NULL, name text NOT NULL, version text NOT NULL,
  joined_at timestamptz NOT NULL DEFAULT now(), seen_at timestamptz NOT NULL DEFAULT now(),
  pulled bigint NOT NULL DEFAULT 0,  -- the owner's changes through which it has everything
  waiting integer NOT NULL DEFAULT 0,  -- sessions that it still had to push when it was seen
  PRIMARY KEY (owner, machine)
);

CREATE TABLE port42.sessions (
  owner text NOT NULL, session_id text COLLATE "C" NOT NULL, agent text NOT NULL,
  header text NOT NULL,             -- the first line of the session's file, as JSON
  generation integer NOT NULL,      -- how often the records were replaced by others
  last_seq bigint NOT NULL,         -- machines compare and swap it
  used bigint NOT NULL,             -- the last use, in milliseconds of this server's clock
  bytes bigint NOT NULL,            -- of all lines
  trashed boolean NOT NULL,
  purged_at timestamptz,            -- then it has no records any more, and gets none
  changed bigint NOT NULL,          -- the owner's change in which it changed last
  PRIMARY KEY (owner, session_id)
);
CREATE INDEX sessions_by_change ON port42.sessions (owner, changed);
CREATE INDEX sessions_by_use ON port42.sessions (owner, used DESC, session_id);

CREATE TABLE port42.records (
  owner text NOT NULL, session_id text COLLATE "C" NOT NULL, seq bigint NOT NULL,
  line text NOT NULL,               -- the record's JSON, as it is in the session's file
  author text NOT NULL DEFAULT session_user,
  machine uuid NOT NULL,
  PRIMARY KEY (owner, session_id, seq),
  FOREIGN KEY (owner, session_id) REFERENCES port42.sessions
);

CREATE TABLE port42.leases (
  owner text NOT NULL, session_id text COLLATE "C" NOT NULL, machine uuid NOT NULL, agent text NOT NULL,
  taken_at timestamptz NOT NULL DEFAULT now(), beat_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (owner, session_id)
);

CREATE TABLE port42.shares (
  owner text NOT NULL, session_id text COLLATE "C" NOT NULL,
  grantee text NOT NULL,            -- a role: another owner, or a group
  may text NOT NULL CHECK (may IN ('read', 'write')),
  PRIMARY KEY (owner, session_id, grantee),
  FOREIGN KEY (owner, session_id) REFERENCES port42.sessions
);

-- Whoever may connect may keep sessions here, and sees nobody else's but those that are shared with a role that
-- it is a member of. The role that owns the tables is no exception; superusers are.
CREATE FUNCTION port42.is_shared(whose text, which text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM port42.shares s JOIN pg_roles r ON r.rolname = s.grantee
    WHERE s.owner = whose AND s.session_id = which AND pg_has_role(session_user, r.oid, 'MEMBER')
  )
$$;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['owners', 'machines', 'sessions', 'records', 'leases', 'shares'] LOOP
    EXECUTE format('ALTER TABLE port42.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY own ON port42.%I USING (owner = session_user)', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON port42.%I TO PUBLIC', name);
  END LOOP;
END $$;
CREATE POLICY own_name ON port42.records AS RESTRICTIVE FOR INSERT WITH CHECK (author = session_user);
CREATE POLICY shared ON port42.sessions FOR SELECT USING (port42.is_shared(owner, session_id));
CREATE POLICY shared ON port42.records FOR SELECT USING (port42.is_shared(owner, session_id));
CREATE POLICY granted ON port42.shares FOR SELECT USING (
  EXISTS (SELECT FROM pg_roles r WHERE r.rolname = grantee AND pg_has_role(session_user, r.oid, 'MEMBER'))
);
GRANT USAGE ON SCHEMA port42 TO PUBLIC;
GRANT SELECT ON port42.migrations, port42.identity TO PUBLIC;
