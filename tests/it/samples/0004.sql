-- Rows as migration 0004 allows them: a message that was shadowed, and a replica in shadow.

insert into action values ('default', 'login-8', now() - interval '1 day');
insert into message (message_sid, account_sid, namespace, action_id, registered_at, owed_at, last_event_at)
values ('SM00000000000000000000000000000008', 'AC00000000000000000000000000000001', 'default', 'login-8', now() - interval '1 day',
        now() - interval '1 day', now() - interval '1 day');
insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
values ('default', 'event-8', '', 'login-8', 'latest', now() - interval '1 day', now() - interval '1 day', 'pending',
        array['SM00000000000000000000000000000008']);
insert into attempt (message_sid, number, verdict, at, class, took_ms)
values ('SM00000000000000000000000000000008', 1, 'dead', now() - interval '1 day', 'shadowed', 0);
insert into dead_letter (message_sid, account_sid, namespace, reason, attempts, known_at, owed_at, died_at)
values ('SM00000000000000000000000000000008', 'AC00000000000000000000000000000001', 'default', 'shadowed', 1,
        now() - interval '1 day', now() - interval '1 day', now() - interval '1 day');
insert into lane_report (account_sid, replica, in_flight, lane_limit, breaker, shadow, reported_at)
values ('AC00000000000000000000000000000001', 'host-2', 0, 8, 'closed', true, now());
