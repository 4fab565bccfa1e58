-- An account in shadow: everything is done for it but the request to Twilio, so that a team can compare before it switches.
--
-- What was shadowed is a dead letter with a reason of its own: it was given up on purpose. So it is kept, listed and
-- counted, never sent by itself, and brought back only by who asks for it by its name.
alter table dead_letter drop constraint if exists dead_letter_reason_is_known;
-- Not valid: the rows that are there kept to fewer words, and reading them all would hold the lock for as long.
alter table dead_letter add constraint dead_letter_reason_is_known
    check (reason in ('message_not_found', 'rejected', 'gave_up', 'unverifiable', 'poison', 'shadowed')) not valid;

-- Whether this replica's side of the lane is in shadow: replicas that are being restarted may differ.
alter table lane_report add column shadow boolean not null default false;
