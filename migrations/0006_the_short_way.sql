-- What the hot path writes and reads is made smaller. Measured on 2 cores, Postgres's processor time for each event of a
-- batch of 4 / of 60: before 67 / 29 µs, after 42 / 21.

-- Postgres reads each check of a table anew from its text in every statement that writes to it, and evaluates it at
-- every update: a third of what a small batch costs. For the three tables of the hot path the types at every door say
-- the same, and the audit asks for it.
alter table message
    drop constraint message_sid_has_its_shape,
    drop constraint message_account_has_its_shape,
    drop constraint message_owed_names_its_event;
alter table event
    drop constraint event_resolve_is_known,
    drop constraint event_state_is_known,
    drop constraint event_parked_names_no_message,
    drop constraint event_names_something;
alter table feedback
    drop constraint feedback_lease_has_both_halves,
    drop constraint feedback_counts_are_counts;

-- At a peak, messages that stand on one page are owed by the same commit, and nothing can be pruned before it. With less
-- room than for all of them, the others' updates go to other pages and into every index: 525 bytes of log, not 180.
alter table message set (fillfactor = 50);

-- The id first: it differs in its first bytes, and the namespace hardly ever.
alter table action drop constraint action_pkey, add primary key (action_id, namespace);
alter table event drop constraint event_pkey, add primary key (event_id, namespace);
drop index message_of_action;
drop index event_of_action;
-- Serves resolving, and the view of an action.
create index message_of_action on message (action_id, namespace) where action_id is not null;
-- Serves the view of an action, and `all` events whose messages are registered later.
create index event_of_action on event (action_id, namespace) where action_id is not null;

-- The attempt that succeeded stands here, not in `attempt`: one row and one index entry less for each message.
-- Null: it stands there (it came by the long way).
alter table confirmation
    add column number  integer,
    add column status  integer,
    add column took_ms integer;

-- Every attempt, wherever it stands.
create view attempt_on_record as
    select message_sid, number, verdict, at, class, status, code, error, request_id, took_ms
    from attempt
    union all
    select message_sid, number, 'confirmed', confirmed_at - make_interval(secs => coalesce(took_ms, 0) / 1000.0), 'confirmed',
           status, null, null, request_id, took_ms
    from confirmation
    where number is not null;

-- How many dead letters there are, by what they are asked by: counting a million rows took 140 ms, each time that an
-- operator looked and every five seconds in every replica. Each statement adds what it changed as rows of its own, so
-- that nobody waits for a counter; upkeep adds them up now and then.
create table dead_letter_tally (
    tally_id    bigint generated always as identity primary key,
    namespace   text   not null,
    account_sid text,                     -- null: an expired event, which has none
    reason      text   not null,
    letters     bigint not null           -- to be added up; negative for those that are gone
);

create function tally_dead_letters() returns trigger
    language plpgsql
    as $$
        begin
            if tg_op <> 'INSERT' then
                insert into dead_letter_tally (namespace, account_sid, reason, letters)
                select namespace, account_sid, reason, -count(*) from gone group by 1, 2, 3;
            end if;
            if tg_op <> 'DELETE' then
                insert into dead_letter_tally (namespace, account_sid, reason, letters)
                select namespace, account_sid, reason, count(*) from come group by 1, 2, 3;
            end if;
            return null;
        end
    $$;
create trigger dead_letters_come after insert on dead_letter
    referencing new table as come for each statement execute function tally_dead_letters();
create trigger dead_letters_change after update on dead_letter
    referencing old table as gone new table as come for each statement execute function tally_dead_letters();
create trigger dead_letters_go after delete on dead_letter
    referencing old table as gone for each statement execute function tally_dead_letters();

create function tally_expired() returns trigger
    language plpgsql
    as $$
        begin
            if tg_op = 'DELETE' then
                insert into dead_letter_tally (namespace, reason, letters)
                select namespace, 'expired', -count(*) from gone group by 1;
            else
                insert into dead_letter_tally (namespace, reason, letters)
                select namespace, 'expired', count(*) from come group by 1;
            end if;
            return null;
        end
    $$;
create trigger expired_come after insert on expired
    referencing new table as come for each statement execute function tally_expired();
create trigger expired_go after delete on expired
    referencing old table as gone for each statement execute function tally_expired();

insert into dead_letter_tally (namespace, account_sid, reason, letters)
    select namespace, account_sid, reason, count(*) from dead_letter group by 1, 2, 3
    union all
    select namespace, null, 'expired', count(*) from expired group by 1;
