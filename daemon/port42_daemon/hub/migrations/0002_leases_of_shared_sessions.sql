-- Owners who may go on with a session of another one take the same lease of it as that one.
ALTER TABLE port42.leases
  ADD COLUMN holder text NOT NULL DEFAULT session_user,  -- the owner whose machine has the lease
  ADD COLUMN name text NOT NULL DEFAULT 'another machine';  -- of that machine, which only its owner sees in `machines`

CREATE POLICY read ON port42.leases FOR SELECT
  USING (holder = session_user OR port42.is_shared(owner, session_id, 'read'));
CREATE POLICY take ON port42.leases FOR INSERT WITH CHECK (port42.is_shared(owner, session_id, 'write'));
-- Only the owner of the session could take one that has not expired.
CREATE POLICY take_over ON port42.leases FOR UPDATE USING (
  port42.is_shared(owner, session_id, 'write')
  AND (holder = session_user OR beat_at < now() - interval '15 seconds')
);
CREATE POLICY give_back ON port42.leases FOR DELETE USING (holder = session_user);
CREATE POLICY own_name ON port42.leases AS RESTRICTIVE FOR INSERT WITH CHECK (holder = session_user);
CREATE POLICY own_name_again ON port42.leases AS RESTRICTIVE FOR UPDATE
  USING (true) WITH CHECK (holder = session_user);
