//! What is on call for the processes themselves.

use super::{MESSAGE, Rehearsal};
use crate::harness::process::Site;
use crate::harness::traffic::Traffic;
use crate::harness::world::sid;

#[tokio::test]
async fn replicas_that_are_gone_are_started_again_and_all_of_it_is_over() {
    let site = Site::new().await;
    let (one, other) = (site.serve().await, site.serve().await);
    let (here, there) = (one.caller.address, other.caller.address);
    let Some(mut on_call) = Rehearsal::of(site, &[&one, &other]).await else { return };
    on_call.it_happens();
    other.kill().await;
    on_call.fires("ConfirmdReplicaAbsent").await;
    on_call.site.set("server.listen", &there.to_string());
    let live = on_call.typed("ConfirmdReplicaAbsent", "confirmd check --live", &[]).await;
    assert!(live.code != Some(0) && live.stdout.starts_with("WRONG"), "{live:?}");
    on_call.fires("ConfirmdNoSpareReplica").await;
    on_call.does("ConfirmdNoSpareReplica", "confirmd lanes list", &[]).await;
    let other = on_call.serve_at(there).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdReplicaAbsent").await;
    on_call.is_over("ConfirmdNoSpareReplica").await;

    on_call.it_happens();
    one.kill().await;
    other.kill().await;
    on_call.fires("ConfirmdAbsent").await;
    assert!(on_call.typed("ConfirmdAbsent", "confirmd check --live", &[]).await.code != Some(0));
    on_call.does("ConfirmdAbsent", "confirmd check", &[]).await;
    let _one = on_call.serve_at(here).await;
    on_call.it_is_mended();
    on_call.is_over("ConfirmdAbsent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_is_read_again_and_says_less() {
    let mut site = Site::new().await;
    let talkative = |config: String| config.replace("filter = \"info\"", "filter = \"trace\"");
    site.rewrite_config(talkative);
    let process = site.serve().await;
    site.set("server.listen", &process.caller.address.to_string());
    let Some(on_call) = Rehearsal::of(site, &[&process]).await else { return };
    on_call.it_happens();
    process.is_not_read();
    let traffic = Traffic::begin(vec![process.caller.clone()], 2);
    on_call.fires("ConfirmdLogLinesDropped").await;
    traffic.goes_on(10).await;
    on_call.does("ConfirmdLogLinesDropped", "confirmd check --live", &[]).await;
    on_call.site.rewrite_config(|config| config.replace("filter = \"trace\"", "filter = \"info\""));
    process.hang_up();
    process.is_read();
    on_call.it_is_mended();
    on_call.is_over("ConfirmdLogLinesDropped").await;
    assert_eq!(traffic.end().await.repeated, 0, "callers notice nothing");
    let trace = format!("confirmd trace {MESSAGE}");
    let story = on_call.does("ConfirmdLogLinesDropped", &trace, &[(MESSAGE, sid(1).as_str())]).await;
    assert!(story.contains("confirmed"), "{story}");
    on_call.site.everything_is_settled().await;
    on_call.site.is_lawful().await;
}
