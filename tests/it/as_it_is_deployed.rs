//! The files of `deploy/` that others run: valid where they go, and in agreement with confirmd's own configuration.

use std::path::{Path, PathBuf};

use confirmd::config::{Config, Environment, Role};
use tokio::process::Command;

use crate::harness::process::{installed, tool};

const VALIDATOR: &str = "kubernetes-validate==1.37.0";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn the_files_for_kubernetes_are_as_kubernetes_wants_them() {
    let Some(python) = installed("kubernetes", VALIDATOR).await else { return };
    let checked = Command::new(python).arg(root(".ci/kubernetes.py")).kill_on_drop(true).output().await.unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
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

#[tokio::test]
async fn the_units_of_systemd_are_sound_and_leave_little_open() {
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        // It comes with systemd, which a container does without.
        return eprintln!("skipped: there is no systemd-analyze on this machine");
    }
    let folder = tempfile::tempdir().unwrap();
    let units = ["confirmd.service", "confirmd-migrate.service"].map(|name| {
        let unit = std::fs::read_to_string(root("deploy/systemd").join(name)).unwrap();
        assert!(unit.contains("/usr/local/bin/confirmd "));
        // It wants to see the program that a unit starts.
        let unit = unit.replace("/usr/local/bin/confirmd", env!("CARGO_BIN_EXE_confirmd"));
        std::fs::write(folder.path().join(name), unit).unwrap();
        folder.path().join(name)
    });
    let mut commands = vec![Command::new(analyze)];
    commands[0].args(["verify", "--man=no"]).args(&units);
    for unit in &units {
        let mut security = Command::new(analyze);
        // Out of 100: the exposure that its hardening leaves.
        security.args(["security", "--offline=true", "--no-pager", "--threshold=15"]).arg(unit);
        commands.push(security);
    }
    for mut command in commands {
        let ran = command.kill_on_drop(true).output().await.unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[tokio::test]
async fn the_prometheus_of_docker_compose_can_read_its_files() {
    let Some(promtool) = tool("promtool") else { return };
    let config = root("deploy/prometheus/prometheus.yml");
    let ran = Command::new(promtool).args(["check", "config"]).arg(config).kill_on_drop(true).output().await.unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}
