//! What the record says beside its table: which tests try to break which promise, and what no row plays.

/// `chapter::story` names a story of `tests/it`; that each is there is a story, too.
pub(crate) const PROMISES: &str = "
## The promises, and what tries to break them

| | promise | rows | stories |
|---|---|---|---|
| 1 | 2xx means durable | F03, F05, F05-off, F06, F07, F07-off, F08, F14 | `stopping_and_starting::what_was_acknowledged_survives_every_kill`, `stopping_and_starting::who_hangs_up_takes_nobody_elses_acknowledgement_along`, `the_schema::every_session_keeps_its_limits_whatever_the_database_says` |
| 2 | Nothing accepted is lost or dropped in silence | every row (K1, K8, K10), above all F01, F02, F03, F04, F37, F61 | `accepted_is_never_lost`, `any_story`, `what_is_kept::what_is_owed_is_never_forgotten`, `saying_it_twice::who_registers_somebody_elses_message_in_the_same_batch_does_not_take_an_events_action_along` |
| 3 | At least once, and once in practice | every row (K5, K6), above all F01, F02, F16, F17, F19, F22, F35, F38, F39 | `handed_over::who_is_killed_between_the_commit_and_the_delivery_leaves_it_to_the_next`, `twilios_trouble::a_worker_that_dies_leaves_its_feedback_to_the_next_and_is_fenced`, `twilios_trouble::the_failure_of_a_lost_lease_changes_nothing_while_the_next_one_holds`, `twilios_trouble::replicas_never_claim_the_same_feedback` |
| 4 | Saying it twice changes nothing | F03, F08 (K9) | `saying_it_twice::two_hundred_at_once_are_one_event`, `saying_it_twice::the_same_key_with_another_content_is_a_mismatch_and_has_no_effect`, `the_interface::at_once::two_hundred_posts_of_one_key_are_one_event_and_one_answer` |
| 5 | Late is welcome | F33, F37 | `twilios_trouble::a_year_late_is_not_too_late`, `twilios_trouble::a_message_that_is_found_late_is_confirmed_late`, `twilios_trouble::an_event_whose_message_never_comes_expires_and_can_be_replayed` |
| 6 | Twilio's trouble stays Twilio's | F21, F22, F23, F24, F25, F26, F27, F28, F29, F30, F31, F32, F33, F35 | `twilios_trouble::one_broken_account_leaves_the_other_untouched`, `twilios_trouble::refused_credentials_pause_the_lane_until_a_probe_is_let_in_and_burn_nothing`, `twilios_trouble::each_row_of_the_verdict_table_holds_over_a_real_socket` |
| 7 | No harm to sending | F25, F26, F31, F33 | `twilios_trouble::a_throttle_halves_the_lanes_concurrency`, `the_interface::dead_letters::a_replay_is_paced_and_bounded_and_takes_the_oldest_first` |
| 8 | No personal data | F57 | `the_interface`, and `src/domain/personal.rs` by itself |
";

pub(crate) const AT_RANDOM: &str = "
## What is tried at random

Seen on 2026-11-28, on 2 cores, other things running beside them but for the first.

| | what | command | figure to reach | figure seen |
|---|---|---|---|---|
| F59 | the OpenAPI document that is served, held against the service | `tests/schemathesis 20000` | 20,000 cases (5,000 in `.ci/run`): no 5xx, no status that it does not name | 25,733 cases in 436 s, seed 823348829: nothing found |
| F60 | what strangers send, under the address sanitizer | `tests/fuzz/run long TARGET` | 10,000,000 executions each, nothing found | names, event, message, operator, twilio_answer, authorization, idempotency_key, retry_after: at least 10,000,000 each, nothing found, none slower than 1 s (event: not known); batch: 10,086,035 in five pieces, nothing found; configuration: two findings in its first 2,188,220, mended since (a key without a name, a key that is a path), then 10,064,372 in five pieces, nothing found |
| | any story of the store, held against a model of it | `CONFIRMD_STORIES=100000 cargo test --release --test it any_story` | 100,000 (2,000 in `cargo test`) end as the model says | one in some six thousand did not, mended since (an event chose by what was being filled in); then 100,000 in one run of 6,576 s, seed 3096736126: all do |
| | the deciding functions, changed one place at a time | `cargo mutants` | 90 % of the viable ones are noticed | 193 of 209; the rest are in `.cargo/mutants.toml` |
";

pub(crate) const NOT_COVERED: &str = "
## The checker says no

`cargo test --test chaos -- --bugs` puts one fault of our own making at a time on a copy of the sources, builds it and plays
the row that is named for it; what has to be said is in brackets. Row F05-off is such a control within every run, and the
story `faults_of_our_own::each_fault_of_our_own_making_can_still_be_made` keeps the patches fitting.

| fault of our own making | row that has to find it |
|---|---|
| intake writes without a transaction | F03 (K10 law broken) |
| a lost lease's failure is settled all the same | F38 (confirmed to two who ran) |
| event and message have no row to queue for | F37 (K8 stuck) |
| leases and due times by the process's own clock | F16 (confirmed to two who ran) |
| redirects are followed | F30 (K7 rogue send) |
| the attempt is not on record before the request | F03 (K5 unrecorded send) |
| a 401 ends a feedback | F31 (given up) |
| sessions run with synchronous_commit = off | F05 (K1 lost) |
| a lost lease is given back all the same | F39 (confirmed to two who ran) |
| a 2xx is believed, whatever its body says | F28 (K4 falsely confirmed) |

## What no row plays

Played as a story, without the figures of a row:

| | fault | story |
|---|---|---|
| F27 | every status from 100 to 599 with every kind of body | `every_status_with_every_kind_of_body_has_the_class_of_the_table` in `src/delivery/tests/cells.rs` |
| F34 | an outage longer than the give-up age | `twilios_trouble::transient_faults_are_given_up_after_a_week_of_nothing_else` |
| F36 | replicas that claim the same row | `twilios_trouble::replicas_never_claim_the_same_feedback` |
| F40 | one event by many callers at once | `saying_it_twice::two_hundred_at_once_are_one_event` |
| F41 | one key with two contents | `saying_it_twice::two_hundred_at_once_are_one_event`, of which every tenth says something else |
| F42 | an event that kills its worker | `twilios_trouble::a_feedback_that_kills_its_worker_again_and_again_is_poison` |
| F43 | a snapshot that is held open | `confirmd bench`, as a figure; the alert in `what_is_watched::rules::the_rules_hold_in_their_stories` |
| F44 | a long queue and a million parked | `the_schema::a_claim_reads_its_index_in_order_however_long_the_queue`, `planned_once::a_plan_of_a_table_that_was_analyzed_while_it_was_small_serves_a_full_one`, and the same of one that was empty, or never analyzed; the time it takes is not measured with a million |
| F46 | replays beside workers, twice | `brought_back::two_who_bring_back_at_once_share_the_letters` |
| F47 | forgetting what is old | `what_is_kept::what_is_owed_is_never_forgotten`; not beside load |
| F49 | a stop while Twilio, Postgres or a caller hangs | `stopping_and_starting::nothing_that_hangs_keeps_a_stop_beyond_its_deadline`, `stopping_and_starting::a_second_signal_ends_at_once` |
| F50 | replicas exchanged across a migration under load | `upgraded_while_it_runs::replicas_are_exchanged_across_a_migration_under_load_and_no_caller_notices`, two exchanges; as many as `CONFIRMD_EXCHANGES` says |
| F51 | several who migrate at once, one who is killed | `stopping_and_starting::of_several_who_migrate_at_once_all_succeed`, `stopping_and_starting::a_migration_that_is_killed_half_way_is_finished_by_the_next` |
| F52 | wrong configurations | `src/config/wrong`, and `at_the_database::pooler::a_pooler_that_lends_sessions_out_from_transaction_to_transaction_is_refused_at_start` |
| F53 | credentials exchanged under load | `changed_while_it_runs::a_callers_token_is_exchanged_for_another_and_no_request_is_turned_away`, `changed_while_it_runs::an_api_key_is_exchanged_for_another_and_twilio_refuses_no_request`; the password of Postgres and torn files not |
| F58 | gauges against the truth | `what_is_kept::what_stands_in_the_store_is_counted`; not sampled during the rows |

Not played at all: panics on purpose in the real binary (F20: in one of its kind they are
`a_thousand_panics_are_a_thousand_problems_and_the_next_is_served` in `src/intake/tests/sockets.rs`, and a settler that
panics in `src/delivery/settler.rs`), one account that floods (F45; that a broken
one leaves the others alone is `twilios_trouble::one_broken_account_leaves_the_other_untouched`), an old primary that comes
back, and an hour's soak: F61 goes on for 5 min unless it is told to.

A clock of Postgres that goes back by less than two hours puts off by that much what was put off already: nothing tells it
from a `Retry-After`, which may be an hour. F17 goes back by more, which is noticed.

In the whole run of 2026-11-29 F02 was red, with every point met: one replica that was to be killed while it drains had drained
and ended by itself, with 0, before it was. What it waits for is held since, and the row was played again.
";
