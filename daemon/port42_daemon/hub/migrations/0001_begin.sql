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

CREATE INDEX shares_by_grantee ON port42.shares (grantee);

-- Whoever may connect may keep sessions here, and sees nobody else's but those that are shared with a role that
-- it is a member of. The role that owns the tables is no exception; superusers are.
CREATE FUNCTION port42.is_member(of_role text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = of_role AND pg_has_role(session_user, r.oid, 'MEMBER'))
$$;
CREATE FUNCTION port42.is_shared(whose text, which text, wanted text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM port42.shares s WHERE s.owner = whose AND s.session_id = which
      AND (s.may = 'write' OR wanted = 'read') AND port42.is_member(s.grantee)
  )
$$;
CREATE FUNCTION port42.may_count(whose text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM port42.shares s WHERE s.owner = whose AND s.may = 'write' AND port42.is_member(s.grantee)
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
CREATE POLICY granted ON port42.shares FOR SELECT USING (port42.is_member(grantee));
CREATE POLICY read ON port42.sessions FOR SELECT USING (port42.is_shared(owner, session_id, 'read'));
CREATE POLICY read ON port42.records FOR SELECT USING (port42.is_shared(owner, session_id, 'read'));
CREATE POLICY continue ON port42.sessions FOR UPDATE USING (port42.is_shared(owner, session_id, 'write'));
CREATE POLICY upsert ON port42.sessions FOR INSERT WITH CHECK (port42.is_shared(owner, session_id, 'write'));
CREATE POLICY continue ON port42.records FOR INSERT WITH CHECK (port42.is_shared(owner, session_id, 'write'));
CREATE POLICY see_count ON port42.owners FOR SELECT USING (port42.may_count(owner));
CREATE POLICY count ON port42.owners FOR UPDATE USING (port42.may_count(owner));

-- Others add records, and change nothing else.
CREATE FUNCTION port42.only_continues() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.agent, NEW.header, NEW.generation, NEW.trashed, NEW.purged_at)
      IS DISTINCT FROM (OLD.agent, OLD.header, OLD.generation, OLD.trashed, OLD.purged_at)
      OR NEW.last_seq < OLD.last_seq OR NEW.changed < OLD.changed THEN
    RAISE insufficient_privilege USING MESSAGE = 'a session of another owner can be continued only';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER only_continues BEFORE UPDATE ON port42.sessions
  FOR EACH ROW WHEN (OLD.owner <> session_user) EXECUTE FUNCTION port42.only_continues();
CREATE FUNCTION port42.only_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.owner <> OLD.owner OR NEW.changes <> OLD.changes + 1 THEN
    RAISE insufficient_privilege USING MESSAGE = 'the changes of another owner can be counted only';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER only_counts BEFORE UPDATE ON port42.owners
  FOR EACH ROW WHEN (OLD.owner <> session_user) EXECUTE FUNCTION port42.only_counts();

GRANT USAGE ON SCHEMA port42 TO PUBLIC;
GRANT SELECT ON port42.migrations, port42.identity TO PUBLIC;
