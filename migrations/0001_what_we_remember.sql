-- What we remember: the map from actions to messages, the events, what is owed to Twilio, and what came of it.
--
-- Three records are kept apart on purpose, so that the conservation law compares independent witnesses instead of
-- adding up one status column, which always adds up:
--   event            every event ever taken; insert-only, with the answer that its caller got
--   message.owed_at  set once, by the first event that names the message
--   feedback, confirmation, dead_letter   where each owed message is now: in exactly one of the three
--
-- Words for states are text with a check, not enums: an older binary reads a word it does not know, and leaves the
-- row alone. Times are the database's.

-- Event and mapping must queue for one row: whoever is second sees what the first one wrote. With nothing to queue
-- for, two overlapping transactions each miss the other's half, and Twilio never hears of the action.
create table action (
    namespace     text        not null,
    action_id     text        not null,
    first_seen_at timestamptz not null,
    primary key (namespace, action_id)
);

-- Which message was sent for which action.
create table message (
    message_sid   text        primary key,
    account_sid   text        not null,
    namespace     text        not null,
    action_id     text,                   -- null: only an event that named the message is known so far
    sent_at       timestamptz,            -- null: not told; registered_at stands in
    registered_at timestamptz not null,
    country       text,
    sender        text,
    template      text,
    channel       text,
    owed_at       timestamptz,            -- when its first event came: from then on we owe Twilio its feedback
    last_event_at timestamptz,            -- when its latest event came: it is kept at least as long as that event
    constraint message_sid_has_its_shape check (message_sid ~ '^(SM|MM)[0-9a-fA-F]{32}$'),
    constraint message_account_has_its_shape check (account_sid ~ '^AC[0-9a-fA-F]{32}$'),
    constraint message_owed_names_its_event check ((owed_at is null) = (last_event_at is null))
);
-- Room for the one update of each row, which sets owed_at and touches no index.
alter table message set (fillfactor = 85);

-- Serves resolving, and the view of an action.
create index message_of_action on message (namespace, action_id) where action_id is not null;
-- Serves retention: oldest first.
create index message_by_age on message (registered_at);

-- Every event that was taken, with the answer that its caller got: the receipt and the idempotency record in one.
create table event (
    namespace    text        not null,
    event_id     text        not null,
    fingerprint  bytea       not null,    -- SHA-256 of what the caller said, to tell the same event from another
    action_id    text,
    resolve      text        not null,
    occurred_at  timestamptz not null,
    accepted_at  timestamptz not null,
    state        text        not null,    -- as answered; what became of it stands in the other tables
    message_sids text[]      not null,    -- as answered; those found later stand in resolution
    primary key (namespace, event_id),
    constraint event_resolve_is_known check (resolve in ('latest', 'all', 'exact')),
    constraint event_state_is_known check (state in ('parked', 'pending', 'confirmed', 'dead')),
    constraint event_parked_names_no_message check ((state = 'parked') = (cardinality(message_sids) = 0)),
    constraint event_names_something check (action_id is not null or resolve = 'exact')
);

-- Serves the view of an action, and `all` events whose messages are registered later.
create index event_of_action on event (namespace, action_id) where action_id is not null;
-- Serves the story of a message: the events that named it themselves.
create index event_of_message on event ((message_sids[1])) where resolve = 'exact';
-- Serves retention, and the audit of what came lately: oldest first.
create index event_by_age on event (accepted_at);

-- Events whose message is not known yet.
create table parked (
    namespace   text        not null,
    event_id    text        not null,
    action_id   text        not null,
    resolve     text        not null,
    occurred_at timestamptz not null,
    parked_at   timestamptz not null,
    primary key (namespace, event_id)
);
-- Serves registering a message: which events waited for its action.
create index parked_of_action on parked (namespace, action_id);
-- Serves expiry, and the age of the oldest: oldest first.
create index parked_by_age on parked (parked_at);

-- Messages that an event was found to confirm after it was answered.
create table resolution (
    namespace   text        not null,
    event_id    text        not null,
    message_sid text        not null,
    resolved_at timestamptz not null,
    primary key (namespace, event_id, message_sid)
);

-- Events whose message never came within the park limit. Kept, listed, replayable.
create table expired (
    namespace  text        not null,
    event_id   text        not null,
    action_id  text        not null,
    parked_at  timestamptz not null,
    expired_at timestamptz not null,
    primary key (namespace, event_id)
);
-- Serves the list of dead letters: newest first.
create index expired_by_age on expired (expired_at, event_id);

-- What we owe Twilio now. Small, whatever the history: what is settled leaves it.
--
-- There is no `running` state and nobody rescues: a lease ends by itself. The lease stands beside due_at and in no
-- index, so that claiming changes no indexed column and stays a heap-only update.
create table feedback (
    message_sid   text        primary key,
    account_sid   text        not null,
    known_at      timestamptz not null,   -- when the message was sent or registered, the earlier: its age for a 404
    owed_at       timestamptz not null,
    due_at        timestamptz not null,   -- not before this
    tried         boolean     not null default false, -- false: fresh work, which goes first
    attempts      integer     not null default 0, -- number of the latest request; committed before the request is sent
    failures      integer     not null default 0, -- burnt attempts: how long the next backoff is
    ambiguous     integer     not null default 0, -- 2xx answers that proved nothing
    failing_since timestamptz,            -- since when there were transient faults only: what give_up_after is measured by
    lost          integer     not null default 0, -- leases lost in a row, without a verdict
    lease_token   uuid,                   -- who may settle it
    lease_until   timestamptz,            -- until when nobody else may claim it
    constraint feedback_lease_has_both_halves check ((lease_token is null) = (lease_until is null)),
    constraint feedback_counts_are_counts check (least(attempts, failures, ambiguous, lost) >= 0)
);
alter table feedback set (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 1000
);
-- Serves `Outbox::claim`: of one lane, fresh or retried, due first.
create index feedback_due on feedback (account_sid, tried, due_at);

-- Twilio has it.
create table confirmation (
    message_sid  text        primary key,
    account_sid  text        not null,
    attempts     integer     not null,
    confirmed_at timestamptz not null,
    date_updated timestamptz,             -- as Twilio tells it
    request_id   text                     -- Twilio-Request-Id
);

-- Requests to Twilio and what came of them. Append-only. One number may stand twice: `interrupted` when its lease was
-- lost, and the answer that came after all.
create table attempt (
    message_sid text        not null,
    number      integer     not null,
    verdict     text        not null,
    at          timestamptz not null,
    class       text,
    status      integer,
    code        integer,
    error       text,
    request_id  text,
    took_ms     integer,
    primary key (message_sid, number, verdict),
    constraint attempt_verdict_is_known check (verdict in ('confirmed', 'retry', 'dead', 'interrupted'))
);

-- Given up, with a reason. Kept, listed, replayable.
create table dead_letter (
    message_sid text        primary key,
    account_sid text        not null,
    namespace   text        not null,
    reason      text        not null,
    attempts    integer     not null,
    last_status integer,
    last_code   integer,
    known_at    timestamptz not null,
    owed_at     timestamptz not null,
    died_at     timestamptz not null,
    constraint dead_letter_reason_is_known
        check (reason in ('message_not_found', 'rejected', 'gave_up', 'unverifiable', 'poison'))
);
-- Serve the list of dead letters, whole, by reason or by account: newest first.
create index dead_letter_by_age on dead_letter (died_at, message_sid);
create index dead_letter_by_reason on dead_letter (reason, died_at, message_sid);
create index dead_letter_by_account on dead_letter (account_sid, died_at, message_sid);

-- What replicas must agree on about an account.
create table account_lane (
    account_sid   text        primary key,
    paused_reason text,
    paused_by     text,
    paused_at     timestamptz,
    probe_at      timestamptz,            -- when one request may try whether an account fault has gone
    constraint account_lane_pause_is_whole
        check (num_nonnulls(paused_reason, paused_by, paused_at) in (0, 3)),
    constraint account_lane_paused_by_is_known check (paused_by in ('operator', 'account_fault')),
    constraint account_lane_only_faults_are_probed check (probe_at is null or paused_by = 'account_fault')
);

-- What each replica said last of its side of a lane.
create table lane_report (
    account_sid text        not null,
    replica     text        not null,
    in_flight   integer     not null,
    lane_limit  integer     not null,
    breaker     text        not null,
    reported_at timestamptz not null,
    primary key (account_sid, replica)
);

-- Where one message's feedback stands. One home for the question, so that every answer agrees.
create function feedback_state(sid text, owed_at timestamptz) returns text
    language sql stable
    as $$
        select case
            when owed_at is null then 'none'
            when exists (select from confirmation c where c.message_sid = sid) then 'confirmed'
            when exists (select from dead_letter d where d.message_sid = sid) then 'dead'
            else 'pending'
        end
    $$;

-- Which of an action's messages an event confirms.
--   latest  the last one sent before it occurred; if all were sent after it (clocks differ), the first of them
--   all     each that is not known to have been sent after it occurred; if none is left (clocks differ), each
create function resolve(of_namespace text, of_action text, by_policy text, occurred timestamptz)
    returns table (message_sid text, owed_at timestamptz)
    language sql stable
    as $$
        select candidate.message_sid, candidate.owed_at
        from (
            select m.message_sid, m.owed_at,
                   coalesce(m.sent_at, m.registered_at) as sent,
                   coalesce(m.sent_at, m.registered_at) <= occurred as before,
                   by_policy = 'all' and m.sent_at is null as untold
            from message m
            where m.namespace = of_namespace and m.action_id = of_action
        ) as candidate
        order by (candidate.before or candidate.untold) desc,
                 case when candidate.before then candidate.sent end desc nulls last,
                 candidate.sent, candidate.message_sid
        limit case by_policy
            when 'latest' then 1
            else coalesce(nullif((
                select count(*) from message m
                where m.namespace = of_namespace and m.action_id = of_action
                  and (m.sent_at is null or m.sent_at <= occurred)
            ), 0), 1000)
        end
    $$;
