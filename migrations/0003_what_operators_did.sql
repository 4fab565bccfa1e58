-- What operators did: who, when, what, how many.
--
-- Append-only: what was done is never rewritten, and is forgotten with the dead letters. Each row is written in the
-- transaction that did it. A replay works in batches, and appends a row with each: one that was cut off is on record
-- exactly as far as it came, and the rows of its run add up to all of it.
create table operation (
    operation_id uuid        primary key,
    run_id       uuid        not null,    -- one command or one request
    done_at      timestamptz not null,
    done_by      text        not null,    -- a caller's name; at the command line, the user's
    done_via     text        not null,    -- http, command_line, process
    what         text        not null,    -- replay, pause, resume
    subject      text        not null,    -- which: an account, or the filter of a replay
    reason       text,                    -- why, where somebody said
    number       bigint      not null,    -- how many it touched
    due_until    timestamptz,             -- of a replay: when all that it brought back will have come due
    constraint operation_number_is_a_count check (number >= 0)
);
-- Serves the list, newest first, and retention.
create index operation_by_age on operation (done_at, operation_id);
-- Serves a replay that goes on: what was brought back by the same words comes due first.
create index operation_due on operation (subject, due_until) where due_until is not null;
