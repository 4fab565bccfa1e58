//! Waiting for a process that is not ours, where nothing can tell us. The only place in the tests that sleeps.

use std::time::{Duration, Instant};

const LONGEST: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer; fails the test if there is none for too long.
pub(crate) async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(LONGEST, what, ask).await
}

/// The same, where too long is longer.
pub(crate) async fn within<T, F>(limit: Duration, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks again and again while something happens. Gives the largest answer.
pub(crate) async fn while_watching<F>(happening: impl Future, mut ask: impl FnMut() -> F) -> i64
where
    F: Future<Output = i64>,
{
    let mut largest = 0;
    let watch = async {
        loop {
            largest = largest.max(ask().await);
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        _ = happening => {}
        () = watch => {}
    }
    largest
}
