-- Rows for the table of migration 0003: a replay in two batches, and a pause.

insert into operation (operation_id, run_id, done_at, done_by, done_via, what, subject, reason, number, due_until) values
    (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', now() - interval '2 days', 'ada', 'command_line', 'replay',
     'reason rejected', null, 500, now() - interval '2 days'),
    (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', now() - interval '2 days', 'ada', 'command_line', 'replay',
     'reason rejected', null, 20, now() - interval '2 days'),
    (gen_random_uuid(), gen_random_uuid(), now() - interval '1 day', 'login', 'http', 'pause',
     'AC00000000000000000000000000000003', 'moving to eu', 1, null);
