//! The README's way from nothing to a confirmed feedback, done to the letter.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use confirmd::postgres::{EmbeddedOptions, EmbeddedPostgres};
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

use crate::embedded::story_folder;
use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Ran, run, tool};

const HEADING: &str = "### By hand, from nothing to a confirmed feedback\n";

/// What stands between fences below the heading: one piece for each fence.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, chapter) = readme.split_once(HEADING).expect("the README has this heading");
    let chapter = chapter.split("\n#").next().unwrap();
    let fenced = chapter.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

/// Who does what stands there: in a folder, with confirmd and Postgres's programs at hand.
struct Stranger {
    folder: PathBuf,
    path: String,
}

impl Stranger {
    /// Without a terminal, or psql would ask there for passwords.
    fn types(&self, commands: &str) -> Command {
        let mut shell = Command::new("setsid");
        // The shell gives way to what stays in the foreground, so that a signal reaches that.
        let commands = ["serve", "twilio-sim"].iter().fold(commands.to_owned(), |text, stays| {
            text.replace(&format!("\nconfirmd {stays}"), &format!("\nexec confirmd {stays}"))
        });
        shell.args(["bash", "-euc", &commands]).env_clear().env("PATH", &self.path).current_dir(&self.folder);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        shell
    }

    async fn does(&self, commands: &str) -> Ran {
        let ran = run(self.types(commands)).await;
        assert_eq!(ran.code, Some(0), "{commands}\n{ran:?}");
        ran
    }

    /// As Postgres's administrator, who is asked for a password twice where one is set.
    async fn administers(&self, postgres: &PgConnectOptions, password: &str, commands: &str) {
        let typed = self.folder.join("typed");
        std::fs::write(&typed, "PASSWORD\n".repeat(2)).unwrap();
        for command in commands.lines() {
            let mut shell = self.types(command);
            shell.stdin(std::fs::File::open(&typed).unwrap()).env("PGHOST", postgres.get_host());
            shell.env("PGPORT", postgres.get_port().to_string()).env("PGUSER", postgres.get_username());
            shell.env("PGPASSWORD", password);
            let ran = run(shell).await;
            assert_eq!(ran.code, Some(0), "{command}\n{ran:?}");
        }
    }
}

fn word_after<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {text}"));
    rest.split(|c: char| c == '"' || c.is_whitespace()).next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_says_of_production_works_as_it_stands() {
    let Some(folder) = story_folder() else { return };
    let (Some(_), Some(_)) = (tool("setsid"), tool("curl")) else { return };
    // As root the server runs as another user, who must be able to enter.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::throwaway(folder.path().join("postgres"))).unwrap();
    let server: PgConnectOptions = postgres.url("postgres").parse().unwrap();
    let url = postgres.url("postgres");
    let password = url.split([':', '@']).nth(2).unwrap();

    let beside = Path::new(env!("CARGO_BIN_EXE_confirmd")).parent().unwrap();
    let programs = EmbeddedPostgres::programs().unwrap();
    let path = format!("{}:{}:{}", beside.display(), programs.display(), std::env::var("PATH").unwrap());
    let stranger = Stranger { folder: folder.path().join("clone"), path };
    std::fs::create_dir(&stranger.folder).unwrap();
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"), stranger.folder.join("deploy")).unwrap();

    let [database, secrets, config, simulator, serve, calls] = <[String; 6]>::try_from(blocks()).unwrap();
    stranger.administers(&server, password, &database).await;

    // Where others listen already, the ports differ; nothing else does.
    let secrets = secrets.replace("@localhost/", &format!("@127.0.0.1:{}/", server.get_port()));
    let told = stranger.does(&secrets).await.stdout;
    let digest = word_after(&told, "tokens_sha256 = [\"");
    let config = config.replace("…from `confirmd token new`…", digest);
    assert!(config.contains(digest), "{config}");
    std::fs::write(stranger.folder.join("confirmd.toml"), config).unwrap();

    let simulator = Confirmd::begin(stranger.types(&simulator.replace("127.0.0.1:4010", "127.0.0.1:0")));
    let twilio = simulator.prints("a simulated Twilio at ").await;
    let twilio = word_after(&twilio, "a simulated Twilio at ").trim_end_matches(';');
    let mut serve = stranger.types(&serve.replace("http://127.0.0.1:4010", twilio));
    serve.env("CONFIRMD_SERVER__LISTEN", "127.0.0.1:0");
    let serve = Confirmd::begin(serve);
    let listens = serve.addresses().await[0];
    assert!(!serve.printed().contains("WRONG"), "{}", serve.printed());

    let token = word_after(&told, "    cfd_");
    let calls = format!("TOKEN=cfd_{token}\n{}", calls.replace("127.0.0.1:8080", &listens.to_string()));
    // To say it twice changes nothing.
    let confirmed = || async { stranger.does(&calls).await.stdout.contains(r#""state":"confirmed""#).then_some(()) };
    eventually("the event is confirmed", confirmed).await;
}
