-- Rows for each table, as migration 0001 made them: what a database may hold when the next migration comes.
--
--   login-1  confirmed at once                     login-4  two messages, one dead, one confirmed after a lost answer
--   login-2  parked                                login-5  pending, after a failure
--   login-3  expired                               (none)   an event that names its message, which is owed
--                                                  login-7  a mapping that nobody has asked for

insert into action (namespace, action_id, first_seen_at)
select 'default', 'login-' || number, now() - interval '10 days'
from unnest(array[1, 2, 3, 4, 5, 7]) as number;

insert into message (message_sid, account_sid, namespace, action_id, sent_at, registered_at, country, sender, template,
                     channel, owed_at, last_event_at)
select 'SM' || lpad(number, 32, '0'), 'AC00000000000000000000000000000001', 'default', action_id, sent, now() - interval '9 days',
       country, 'MG00000000000000000000000000000001', 'login-otp', 'sms', owed, owed
from (values
    ('1', 'login-1', now() - interval '9 days', 'DE', now() - interval '8 days'),
    ('4', 'login-4', now() - interval '9 days', null, now() - interval '8 days'),
    ('44', 'login-4', null, 'FR', now() - interval '8 days'),
    ('5', 'login-5', null, null, now() - interval '1 minute'),
    ('6', null, null, null, now() - interval '1 minute'),
    ('7', 'login-7', now() - interval '9 days', 'US', null)
) as told (number, action_id, sent, country, owed);

insert into event (namespace, event_id, fingerprint, action_id, resolve, occurred_at, accepted_at, state, message_sids)
select 'default', 'event-' || number, sha256(number::bytea), action_id, resolve, at, at, state, sids
from (values
    ('1', 'login-1', 'latest', now() - interval '8 days', 'pending', array['SM00000000000000000000000000000001']),
    ('2', 'login-2', 'latest', now() - interval '1 day', 'parked', '{}'),
    ('3', 'login-3', 'all', now() - interval '10 days', 'parked', '{}'),
    ('4', 'login-4', 'all', now() - interval '8 days', 'parked', '{}'),
    ('5', 'login-5', 'latest', now() - interval '1 minute', 'pending', array['SM00000000000000000000000000000005']),
    ('6', null, 'exact', now() - interval '1 minute', 'pending', array['SM00000000000000000000000000000006'])
) as told (number, action_id, resolve, at, state, sids);

insert into parked values ('default', 'event-2', 'login-2', 'latest', now() - interval '1 day', now() - interval '1 day');
insert into expired values ('default', 'event-3', 'login-3', now() - interval '10 days', now() - interval '3 days');
insert into resolution values
    ('default', 'event-4', 'SM00000000000000000000000000000004', now() - interval '8 days'),
    ('default', 'event-4', 'SM00000000000000000000000000000044', now() - interval '8 days');

insert into feedback (message_sid, account_sid, known_at, owed_at, due_at, tried, attempts, failures, failing_since,
                      lease_token, lease_until)
values ('SM00000000000000000000000000000005', 'AC00000000000000000000000000000001', now() - interval '9 days',
        now() - interval '1 minute', now(), true, 1, 1, now() - interval '1 minute', null, null),
       ('SM00000000000000000000000000000006', 'AC00000000000000000000000000000001', now() - interval '9 days',
        now() - interval '1 minute', now() - interval '1 minute', false, 1, 0, null, gen_random_uuid(), now());

insert into confirmation values
    ('SM00000000000000000000000000000001', 'AC00000000000000000000000000000001', 1, now() - interval '8 days',
     now() - interval '8 days', 'RQ00000000000000000000000000000001'),
    ('SM00000000000000000000000000000044', 'AC00000000000000000000000000000001', 2, now() - interval '8 days', null, null);

insert into attempt (message_sid, number, verdict, at, class, status, code, error, request_id, took_ms) values
    ('SM00000000000000000000000000000001', 1, 'confirmed', now() - interval '8 days', 'confirmed', 200, null, null, 'RQ00000000000000000000000000000001', 120),
    ('SM00000000000000000000000000000004', 1, 'dead', now() - interval '8 days', 'rejected', 400, 20422, null, null, 90),
    ('SM00000000000000000000000000000044', 1, 'interrupted', now() - interval '8 days', null, null, null, null, null, null),
    ('SM00000000000000000000000000000044', 2, 'confirmed', now() - interval '8 days', 'confirmed', 200, null, null, null, 80),
    ('SM00000000000000000000000000000005', 1, 'retry', now() - interval '1 minute', 'transient', null, null, 'timed out', null, 10000);

insert into dead_letter values
    ('SM00000000000000000000000000000004', 'AC00000000000000000000000000000001', 'default', 'rejected', 1, 400, 20422,
     now() - interval '9 days', now() - interval '8 days', now() - interval '8 days');

insert into account_lane values
    ('AC00000000000000000000000000000001', null, null, null, null),
    ('AC00000000000000000000000000000002', 'Twilio answered 401, code 20003', 'account_fault', now(), now()),
    ('AC00000000000000000000000000000003', 'moving to eu', 'operator', now(), null);
insert into lane_report values ('AC00000000000000000000000000000001', 'host-1', 3, 8, 'closed', now());
