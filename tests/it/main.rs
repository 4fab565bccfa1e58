//! confirmd's promises, one chapter each, in one binary: so that there is one Postgres for all of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail at that line")]

mod harness; // what stories start from

mod accepted_is_never_lost; // promises 1 and 2
mod any_story; // the store against a model of it, and what is found is shrunk
mod as_twilio_shows_it; // the one request that Twilio hears
mod brought_in_and_written_out; // a backlog taken in, and a whole written out
mod asked_to_say_more; // the log, of one thing alone
mod brought_back; // dead letters, by those who said how many, on record
mod as_it_is_secured; // the table of what is promised against harm
mod as_it_is_deployed; // the files that others run: systemd, Prometheus
mod at_the_database; // roles that may do what they need, and what stands before Postgres
mod by_hand; // from nothing to a confirmed feedback, as the README says
mod changed_while_it_runs; // a new configuration, at a signal
mod connected_to_twilio; // how long a connection is used
mod databases; // a database of its own for each test
mod faults_of_our_own; // each fault that the rows of tests/chaos have to find can still be made
mod handed_over; // promises 1 and 3, on the direct path
mod in_shadow; // everything but the request
mod embedded; // a Postgres of our own
mod on_kubernetes; // the files for Kubernetes, and what they start
mod planned_once; // what is planned while there is little serves when there is much
mod migrations_only_add; // what the version before can run on
mod saying_it_twice; // promise 4
mod sdk; // Twilio's own SDK cannot tell the simulator from Twilio
mod simulator; // a Twilio to practise on
mod stopping_and_starting; // promises 1, 2 and 3, for whole processes
mod the_command_line; // what operators type, and what they are told
mod the_map; // a room speaks only of the rooms beside its name
mod the_schema; // migrations, words of tomorrow, plans, sessions
mod the_interface; // what callers and operators see over HTTP
mod upgraded_while_it_runs; // old and new replicas side by side
mod twilios_trouble; // promises 3, 5 and 6
mod what_is_kept; // promise 2, over the years
mod what_nobody_hears; // secrets, in whatever is said
mod what_is_watched; // metrics, alerts, dashboard, runbook: each known to the others
