//! The store against a model of it, in any story: events and messages in every order and at once, work that is handed
//! over, claimed, settled, lost, given back, replayed; callers that hang up, workers that die, time that passes.
//!
//! What breaks a story is shrunk to the shortest one that still breaks. Each has a namespace and an account of its own;
//! many share one database.
//!
//! ```text
//! cargo test --test it any_story                                  the short form: 2,000 stories
//! CONFIRMD_STORIES=100000 cargo test --test it any_story          as many as that
//! CONFIRMD_STORIES_SEED=7 cargo test --test it any_story          the same stories again
//! ```

mod choosing; // what an event confirms, of many actions at once
mod model; // what should be so
mod parts; // what a story is made of
mod stage; // doing it, and looking at what came of it

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::parts::{Step, story};
use self::stage::Stage;

/// Databases at once, each with stories of its own: a story mostly waits for its commits.
const STAGES: u32 = 4;
/// Stories in one database, before the next begins with an empty one: what a story costs grows with what is there. Of 29 a
/// second at first, 12 were left after 5,000 in each.
const OF_A_STAGE: u32 = 1_000;
const SHORT_FORM: u32 = 2_000;
/// Stories from one line of progress to the next.
const PROGRESS: u32 = 5_000;

#[test]
fn any_story_ends_as_the_model_of_it_does() {
    let stories = variable("CONFIRMD_STORIES").unwrap_or(SHORT_FORM);
    let seed = variable("CONFIRMD_STORIES_SEED").unwrap_or_else(rand::random);
    let began = std::time::Instant::now();
    let so_far = AtomicU32::new(0);
    let one_more = || {
        let so_far = so_far.fetch_add(1, Ordering::Relaxed) + 1;
        if so_far.is_multiple_of(PROGRESS) {
            eprintln!("{so_far} of {stories} stories in {:.0?}", began.elapsed());
        }
    };
    std::thread::scope(|scope| {
        for stage in 0..STAGES {
            scope.spawn(move || {
                if let Err(told) = tell_many(stories.div_ceil(STAGES), seed.wrapping_add(stage), one_more) {
                    panic!("{told}\nthe same again: CONFIRMD_STORIES={stories} CONFIRMD_STORIES_SEED={seed}");
                }
            });
        }
    });
    eprintln!("{stories} stories in {:.1?}, seed {seed}", began.elapsed());
}

fn variable(name: &str) -> Option<u32> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn tell_many(mut stories: u32, seed: u32, one_more: impl Fn()) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    for act in 0_u32.. {
        let cases = stories.min(OF_A_STAGE);
        if cases == 0 {
            break;
        }
        stories -= cases;
        bytes[4..8].copy_from_slice(&act.to_be_bytes());
        let stage = std::cell::RefCell::new(runtime.block_on(Stage::new()));
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let told = runner.run(&story(), |steps| {
            one_more();
            runtime.block_on(tell(&mut stage.borrow_mut(), &steps))
        });
        if let Err(TestError::Fail(reason, steps)) = told {
            let steps: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            return Err(format!("{reason}\nin this story:\n{}", steps.join("\n")));
        }
        told.map_err(|error| error.to_string())?;
        runtime.block_on(stage.into_inner().law_holds())?;
    }
    Ok(())
}

/// One story, by itself: nothing in it knows of the others.
async fn tell(stage: &mut Stage, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut scene = stage.scene();
    for step in steps {
        tokio::time::timeout(Duration::from_secs(60), scene.act(step))
            .await
            .map_err(|_| TestCaseError::fail(format!("{step:?} hangs")))?
            .map_err(|error| TestCaseError::fail(format!("{step:?}: {error}")))?;
    }
    scene.is_as_the_model().await.map_err(|error| TestCaseError::fail(format!("in the end: {error}")))
}
