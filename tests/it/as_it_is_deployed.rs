//! The files of `deploy/` for systemd and Prometheus: valid where they go. Those for Kubernetes are in `on_kubernetes.rs`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::process::tool;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
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
