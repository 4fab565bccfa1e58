//! The files of `deploy/kubernetes`: as Kubernetes wants them, and confirmd starts with what they give to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use confirmd::config::{Config, Environment, Role};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::caller::Caller;
use crate::harness::database::ROLES;
use crate::harness::outside::eventually;
use crate::harness::process::{Confirmd, Site, confirmd, installed, run};
use crate::harness::world::{TOKEN, account};

const VALIDATOR: &str = "kubernetes-validate==1.37.0";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What production makes of the base. None where the validator cannot be had.
async fn rendered() -> Option<Vec<Value>> {
    let python = installed("kubernetes", VALIDATOR).await?;
    let mut render = Command::new(python);
    render.arg(root(".ci/kubernetes.py")).arg("production").kill_on_drop(true);
    let ran = run(render).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    eprintln!("{}", ran.stderr);
    Some(serde_json::from_str(&ran.stdout).unwrap())
}

#[tokio::test]
async fn the_files_for_kubernetes_are_as_kubernetes_wants_them() {
    let Some(documents) = rendered().await else { return };
    assert!(!documents.is_empty());
}

/// The lines of a config map that are confirmd's file.
fn in_config_map(path: &str) -> String {
    let text = std::fs::read_to_string(root(path)).unwrap();
    let (_, file) = text.split_once("confirmd.toml: |\n").unwrap();
    file.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_kubernetes_gives_to_confirmd_makes_sense() {
    let secrets = tempfile::tempdir().unwrap();
    let folder = secrets.path().to_str().unwrap();
    std::fs::write(secrets.path().join("database_url"), "postgres://confirmd_app@db/confirmd?sslmode=verify-full")
        .unwrap();
    std::fs::write(secrets.path().join("twilio_auth_token"), "0123456789abcdef0123456789abcdef").unwrap();
    for name in ["database_url", "twilio_auth_token"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o440);
        std::fs::set_permissions(secrets.path().join(name), mode).unwrap();
    }
    for path in ["deploy/kubernetes/base/config.yaml", "deploy/kubernetes/production/config.yaml"] {
        let file = in_config_map(path).replace("/run/secrets/confirmd", folder);
        if let Err(error) = Config::from_layers(Some((path, &file)), &Environment::of_process(), Role::All) {
            panic!("{error}");
        }
    }
}

/// What a cluster holds of confirmd, and so what is mounted where.
struct Cluster {
    documents: Vec<Value>,
    folder: TempDir,
}

impl Cluster {
    fn find(&self, kind: &str, name: &str) -> &Value {
        let is_it = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
        self.documents.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// `kubectl create secret generic NAME --from-literal=KEY=…`, as README.md beside the files says it.
    fn create_secret(&self, name: &str, values: &[(&str, &str)]) {
        let readme = std::fs::read_to_string(root("deploy/kubernetes/README.md")).unwrap();
        let (_, command) = readme.split_once(&format!("create secret generic {name} ")).unwrap();
        let command = command.split("kubectl").next().unwrap();
        let keys: Vec<&str> =
            command.split("--from-literal=").skip(1).map(|key| key.split('=').next().unwrap()).collect();
        assert_eq!(keys, values.iter().map(|(key, _)| *key).collect::<Vec<_>>());
        for (key, value) in values {
            self.write(&format!("secret-{name}"), key, value, 0o440);
        }
    }

    /// What production says, but for what is yours: your account, your callers, and which ports are free here.
    fn create_config(&self, digest: &str) {
        for (file, text) in self.find("ConfigMap", "confirmd")["data"].as_object().unwrap() {
            let text = text.as_str().unwrap().replace("AC00000000000000000000000000000000", account(1).as_str());
            let text = text.replace(&"0".repeat(64), digest).replace("0.0.0.0:8080", "127.0.0.1:0");
            self.write("config-confirmd", file, &text.replace("0.0.0.0:9090", "127.0.0.1:0"), 0o644);
        }
    }

    fn write(&self, volume: &str, file: &str, text: &str, mode: u32) {
        let path = self.folder.path().join(volume).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The one container of a pod, with its arguments, its environment, and its volumes in place.
    fn starts(&self, pod: &Value) -> Command {
        let container = &pod["containers"][0];
        let mut mounts = Vec::new();
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volume =
                pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            let of = match (volume["secret"]["secretName"].as_str(), volume["configMap"]["name"].as_str()) {
                (Some(secret), None) => format!("secret-{secret}"),
                (None, Some(config)) => format!("config-{config}"),
                other => panic!("{other:?}"),
            };
            let here = self.folder.path().join(of);
            assert!(here.is_dir(), "{} has nothing to mount", here.display());
            mounts.push((mount["mountPath"].as_str().unwrap(), here.to_str().unwrap().to_owned()));
        }
        let in_place = |text: &str| mounts.iter().fold(text.to_owned(), |text, (path, here)| text.replace(path, here));
        let mut command = confirmd(self.folder.path());
        command.args(container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()));
        for variable in container["env"].as_array().unwrap() {
            command.env(variable["name"].as_str().unwrap(), in_place(variable["value"].as_str().unwrap()));
        }
        // The configuration names files of secrets where they are mounted.
        let config = self.folder.path().join("config-confirmd/confirmd.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(config, in_place(&text)).unwrap();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

#[tokio::test]
async fn what_kubernetes_starts_migrates_answers_its_probes_and_confirms() {
    let Some(documents) = rendered().await else { return };
    let site = Site::bare().await;
    let mut admin = PgConnection::connect(&site.database.url).await.unwrap();
    sqlx::raw_sql(ROLES).execute(&mut admin).await.unwrap();
    let cluster = Cluster { documents, folder: tempfile::tempdir().unwrap() };
    cluster.create_secret("confirmd-migrate", &[("database_url", &site.database.url_of("confirmd_migrate"))]);
    let service = site.database.url_of("confirmd_app");
    cluster.create_secret("confirmd", &[("database_url", &service), ("twilio_auth_token", TOKEN)]);
    cluster.create_config(&site.digest());

    let job = cluster.find("Job", "confirmd-migrate");
    let mut migrate = cluster.starts(&job["spec"]["template"]["spec"]);
    // The tests' Postgres may be in a container, which is not this machine.
    migrate.env("CONFIRMD_DATABASE__ALLOW_INSECURE", "true");
    let migrated = run(migrate).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");

    let pod = &cluster.find("Deployment", "confirmd")["spec"]["template"]["spec"];
    let mut serve = cluster.starts(pod);
    serve.env("CONFIRMD_DATABASE__ALLOW_INSECURE", "true").env("TWILIO_BASE_URL", site.twilio.base_url());
    let serve = Confirmd::begin(serve);
    let addresses = serve.addresses().await;
    let ports: Vec<&str> =
        pod["containers"][0]["ports"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!((ports.len(), addresses.len()), (2, 2), "it listens where the file says");
    let at = |port: &Value| {
        let position = ports.iter().position(|name| port == name).unwrap_or_else(|| panic!("no port is called {port}"));
        Caller { address: addresses[position], token: site.token.clone() }
    };
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &pod["containers"][0][probe]["httpGet"];
        let answer = at(&asked["port"]).get(asked["path"].as_str().unwrap()).await.unwrap();
        assert_eq!(answer.status, 200, "{probe}: {answer:?}");
    }
    let callers = at(&cluster.find("Service", "confirmd")["spec"]["ports"][0]["targetPort"]);
    callers.insist(1).await;
    let confirmed = || async { (site.count("confirmation").await == 1).then_some(()) };
    eventually("its feedback is confirmed", confirmed).await;
}
