//! The way to Twilio is wrong: its certificate, or its name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::time::sleep;

use super::shared::{given_up, millis, only_503, takes};
use crate::harness::comes_true;
use crate::harness::figures::Figures;
use crate::harness::resolver::{Name, Resolver};
use crate::harness::run::Run;
use crate::harness::world::{PLAIN, World};
use crate::outside::orders::{Happening, Presents, Weather};

const LONGEST: Duration = Duration::from_secs(60);

/// Certificates as they should not be, and servers that should not be spoken to.
pub(super) async fn wrong_tls(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F24", &PLAIN).await;
    certify(&world.folder);
    let certificate = |name: &str| Presents::Certificate(name.to_owned());
    for replica in &mut world.replicas {
        let twilio = replica.variables["TWILIO_BASE_URL"].strip_prefix("http://").unwrap().parse().unwrap();
        let tls = world.outside.open_tls(&replica.name, twilio).await;
        world.outside.present(&replica.name, certificate("right")).await;
        replica.variables.insert("TWILIO_BASE_URL".to_owned(), format!("https://localhost:{}", tls.port()));
        let authority = world.folder.join("authority.pem").to_str().unwrap().to_owned();
        replica.variables.insert("SSL_CERT_FILE".to_owned(), authority);
        replica.start().await;
    }
    world.begin_sampling();
    let load = world.load(4, millis(30));
    let wrongs = [
        ("expired", certificate("expired")),
        ("of another host", certificate("elsewhere")),
        ("signed by itself", certificate("itself")),
        ("of another authority", certificate("foreign")),
        ("for who asks for another name", Presents::CertificateOfAnother("right".to_owned())),
        ("TLS 1.1", Presents::OldVersion),
        ("cut in the handshake", Presents::Half),
        ("no TLS", Presents::NoTls),
    ];
    let (mut passed, mut tried) = (0, 0);
    for (wrong, presents) in wrongs {
        let drained = async || takes(&world, 20, LONGEST).await && confirms(&world, LONGEST).await;
        figures.show(format!("before {wrong}: Twilio confirms"), drained().await);
        for number in 0..world.replicas.len() {
            world.outside.present(&world.replicas[number].name, presents.clone()).await;
        }
        // Twice, for a connection could be half made; what was under way has ended by then.
        for _ in 0..2 {
            for number in 0..world.replicas.len() {
                world.outside.cut(&format!("twilio-{number}")).await;
            }
            sleep(millis(500)).await;
        }
        let (before, failed) = (world.twilio().len(), refused(&world).await);
        tried += usize::from(comes_true(LONGEST, async || failed < refused(&world).await).await);
        sleep(Duration::from_secs(run.form.pick(0, 4))).await;
        passed += world.twilio().len() - before;
        for replica in &world.replicas {
            world.outside.present(&replica.name, certificate("right")).await;
        }
    }
    load.end().await;
    figures.did("8 kinds of wrong TLS");
    figures.show(format!("kinds that were tried and refused: {tried} of 8"), tried == 8);
    figures.none("requests that reached Twilio meanwhile", passed);
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    world.account_for(&mut figures).await;
    figures
}

/// Whether Twilio confirms something that it has not confirmed yet.
async fn confirms(world: &World, limit: Duration) -> bool {
    let confirmed = || world.twilio().iter().filter(|heard| heard.is_confirmed()).count();
    let before = confirmed();
    comes_true(limit, async || before < confirmed()).await
}

/// Attempts on record that came to nothing for now.
async fn refused(world: &World) -> i64 {
    world.cluster.number("select count(*) from attempt_on_record where verdict = 'retry'").await
}

/// Writes the certificates, each with its key: all for localhost and by the one authority, but for what is wrong with each.
fn certify(folder: &Path) {
    let script = r#"
        set -e
        cd "$1"
        key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"; }
        authority() { key "$1"; openssl req -x509 -new -key "$1.key" -out "$1.pem" -subj "/CN=$1" -days 2; }
        signed() { # NAME HOST AUTHORITY DAYS
            key "$1"
            openssl req -new -key "$1.key" -out "$1.csr" -subj "/CN=$2" -addext "subjectAltName=DNS:$2"
            openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -copy_extensions copy \
                -days "$4" -out "$1.pem"
        }
        authority authority
        authority another
        signed right localhost authority 2
        signed expired localhost authority -1
        signed elsewhere elsewhere.test authority 2
        signed foreign localhost another 2
        key itself
        openssl req -x509 -new -key itself.key -out itself.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2
    "#;
    let output = Command::new("/bin/sh").args(["-c", script, "certify"]).arg(folder).output().unwrap();
    assert!(output.status.success(), "the row needs openssl: {}", String::from_utf8_lossy(&output.stderr));
}

/// The name of Twilio's host means nothing for a while, and then another address.
pub(super) async fn wrong_names(run: &Run) -> Figures {
    let mut figures = Figures::default();
    let mut world = World::unstarted(run, "F32", &PLAIN).await;
    let dice = |world: &mut World| world.dice.random_range(1..255);
    let resolver = Ipv4Addr::new(127, 53, dice(&mut world), dice(&mut world));
    let moved = Ipv4Addr::new(127, 54, resolver.octets()[2], resolver.octets()[3]);
    let resolver = Resolver::start(resolver, Name::Is(Ipv4Addr::LOCALHOST)).await;
    let resolves = world.folder.join("resolv.conf");
    std::fs::write(&resolves, format!("nameserver {}\n", resolver.address)).unwrap();
    let mut there: Vec<SocketAddr> = Vec::new();
    for replica in &mut world.replicas {
        let twilio: SocketAddr = replica.variables["TWILIO_BASE_URL"].strip_prefix("http://").unwrap().parse().unwrap();
        there.push(twilio);
        let url = format!("http://twilio.test:{}", twilio.port());
        replica.variables.insert("TWILIO_BASE_URL".to_owned(), url);
        replica.variables.insert("CONFIRMD_ALLOW_INSECURE_TWILIO".to_owned(), "true".to_owned());
        // A machine whose resolver this is, for this process alone.
        let sees = format!("mount --bind '{}' /etc/resolv.conf && exec \"$@\"", resolves.display());
        replica.under = ["unshare", "--mount", "sh", "-c", &sees, "sh"].map(str::to_owned).into();
        replica.start().await;
    }
    world.begin_sampling();
    let load = world.load(4, millis(30));
    for (what, name) in [("NXDOMAIN", Name::IsNone), ("SERVFAIL", Name::Fails), ("silence", Name::Silent)] {
        assert!(takes(&world, 20, LONGEST).await && confirms(&world, LONGEST).await, "before {what}: all is well");
        resolver.say(name);
        for number in 0..2 {
            world.outside.cut(&format!("twilio-{number}")).await;
        }
        sleep(millis(300)).await;
        let (before, asked) = (world.twilio().len(), resolver.asked());
        sleep(Duration::from_secs(run.form.pick(2, 15))).await;
        figures.none(&format!("requests to Twilio during {what}"), world.twilio().len() - before);
        let asked = resolver.asked() - asked;
        figures.show(format!("asked meanwhile: {asked} times (at least once)"), 0 < asked);
        resolver.say(Name::Is(Ipv4Addr::LOCALHOST));
        let again = Instant::now();
        let well = confirms(&world, LONGEST).await;
        figures.show(format!("after {what} Twilio confirms again"), well);
        figures.no_longer_than("after how long", again.elapsed(), Duration::from_secs(10));
    }
    for (number, there) in there.iter().enumerate() {
        let at = SocketAddr::from((moved, there.port()));
        world.outside.open_way(&format!("moved-{number}"), at, *there).await;
    }
    // While there is much to send connections are opened at all times; when there is not, those of before are enough.
    let calm = async || world.cluster.number("select count(*) from feedback").await < 20;
    assert!(comes_true(LONGEST, calm).await, "what could not be sent meanwhile is");
    resolver.say(Name::Is(moved));
    let began = Instant::now();
    for number in 0..2 {
        let moves = Happening::Connected { name: format!("moved-{number}") };
        let used = world.outside.happens(&moves, 1, Duration::from_secs(120)).await;
        figures.show(format!("replica {number} uses the new address, while the old one still serves"), used);
        figures.no_longer_than("after how long", began.elapsed(), LONGEST);
    }
    load.end().await;
    figures.none("given up", given_up(&world).await);
    only_503(&world, &mut figures);
    for number in 0..2 {
        world.outside.weather(&format!("moved-{number}"), Weather::default()).await;
    }
    world.account_for(&mut figures).await;
    figures
}
