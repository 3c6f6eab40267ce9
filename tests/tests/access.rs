//! Certificates of a small authority in use by real roles: renewed without a restart, revoked, refused, and what the doctor says.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkage_agreement::RoleId;
use linkage_common::tls::{ConnectError, Refusal, TlsFiles, look};
use linkage_tests::federation::{Federation, Role, linkage, linkage_ok, wait_for};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(120);

/// Issues certificates of a new authority to every role of a site, as its operators would; the authority's folder.
fn own_authority(site: &Federation) -> PathBuf {
    let ca = site.folder.join("autorite-essai");
    linkage_ok(["certificates", "init-ca", "--no-passphrase", "--name", "Essai", "--out", ca.to_str().unwrap()]);
    for role in site.roles() {
        let tls = site.home(&role).join("tls");
        let now = tls_files(site, &role);
        // The partner draws the key and sends the request; the authority says whose it is.
        let request = tls.join("demande");
        let uri = now.own_uri().unwrap();
        linkage_ok(["certificates", "request", "--uri", &uri, "--out", request.to_str().unwrap()]);
        let (csr, issued) = (request.join("certificat.csr"), request.to_str().unwrap());
        let given = ["certificates", "issue", "--ca", ca.to_str().unwrap(), "--uri", &uri, "--out", issued, "--csr"];
        linkage_ok(given.into_iter().chain([csr.to_str().unwrap()]));
        for (from, to) in [("certificat.key", &now.key), ("certificat.pem", &now.certificate), ("ca.pem", &now.ca)] {
            fs::rename(request.join(from), to).unwrap();
        }
    }
    ca
}

fn tls_files(site: &Federation, role: &Role) -> TlsFiles {
    let file = |key: &str| PathBuf::from(site.setting(role, key));
    TlsFiles { ca: file("ca"), certificate: file("certificate"), key: file("key") }
}

/// Adds a revocation list and a quick look at the files to a server's configuration.
fn watch_list(site: &Federation, role: &Role, crl: &Path) {
    let path = site.config(role);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("crl = \"{}\"\n{text}\n[limits]\nreload_poll_ms = 100\n", crl.display())).unwrap();
}

/// The findings of `linkage doctor` and its exit code.
fn doctor(config: &Path) -> (Vec<Value>, Option<i32>) {
    let output = linkage(["doctor", "--json", "--config", config.to_str().unwrap()]);
    let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    // A peer that is down is a finding, not a line for every attempt to reach it.
    assert!(!std::str::from_utf8(&output.stderr).unwrap().contains("trying again"), "{output:?}");
    (findings, output.status.code())
}

#[track_caller]
fn fault(config: &Path, check: &str, says: &str) {
    let (findings, code) = doctor(config);
    assert_eq!(code, Some(3), "{findings:?}");
    let named = findings
        .iter()
        .any(|f| f["level"] == "fault" && f["check"] == check && f["text"].as_str().is_some_and(|text| text.contains(says)));
    assert!(named, "no fault of « {check} » says « {says} »: {findings:#?}");
}

#[test]
fn certificates_are_renewed_and_revoked_while_the_roles_run() {
    let mut site = Federation::set_up(60, 1, 21);
    let ca = own_authority(&site);
    let crl = ca.join("crl.pem");
    for role in [Role::Broker, Role::Custodian] {
        watch_list(&site, &role, &crl);
    }
    site.start(&Role::Custodian);
    site.start(&Role::Broker);
    let partner = Role::Node(site.parties[1].clone());
    let (files, url) = (tls_files(&site, &partner), format!("https://{}", site.setting(&Role::Broker, "listen")));
    let broker = tls_files(&site, &Role::Broker).own_uri().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    linkage_common::tls::install_crypto();
    let visit = |files: &TlsFiles| runtime.block_on(look(&url, files, &broker, WAIT));

    let seen = visit(&files).unwrap();
    assert_eq!(seen.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(seen.skew_s.is_some_and(|skew| skew.abs() < 30.0), "{seen:?}");

    // Renewed: the broker takes its new files over by itself, and stays the same process.
    let taken_over = |site: &Federation| site.log_text(&Role::Broker).matches("certificates taken over again").count();
    let (own, before) = (tls_files(&site, &Role::Broker), taken_over(&site));
    let serial = |file: &Path| -> String {
        let shown: Value = serde_json::from_str(&linkage_ok(["certificates", "show", "--json", file.to_str().unwrap()])).unwrap();
        shown[0]["serial"].as_str().unwrap().to_owned()
    };
    let former = serial(&own.certificate);
    let folder = own.certificate.parent().unwrap();
    let renew = ["certificates", "renew", "--ca", ca.to_str().unwrap(), "--certificate", own.certificate.to_str().unwrap()];
    linkage_ok(renew.into_iter().chain(["--out", folder.to_str().unwrap(), "--stem", "certificat"]));
    assert_ne!(serial(&own.certificate), former);
    wait_for("the broker takes its renewed certificate over", || (taken_over(&site) > before).then_some(()));
    visit(&files).unwrap();
    site.check();

    // Revoked: soon a connection is refused, with its reason, and in the log.
    linkage_ok(["certificates", "revoke", "--ca", ca.to_str().unwrap(), "--certificate", files.certificate.to_str().unwrap()]);
    let refused = wait_for("the broker takes the list over", || visit(&files).err());
    assert!(matches!(refused, ConnectError::Refused { refusal: Refusal::Revoked, .. }), "{refused:?}");
    wait_for("the refusal in the log", || site.log_text(&Role::Broker).contains("handshake refused").then_some(()));
    // Others are not touched by it.
    visit(&tls_files(&site, &Role::Node(site.parties[0].clone()))).unwrap();

    // A certificate for two roles is of nobody.
    let both = site.folder.join("deux");
    let authority = linkage_common::authority::DevAuthority::load(&ca).unwrap();
    let validity = linkage_common::authority::Validity::days(jiff::Timestamp::now(), 1);
    let uris = [files.own_uri().unwrap(), broker.clone()];
    let (certificate, key) = authority.issue_for_uris(&[&uris[0], &uris[1]], validity).unwrap();
    fs::create_dir(&both).unwrap();
    fs::write(both.join("c.pem"), certificate).unwrap();
    fs::write(both.join("c.key"), key.as_bytes()).unwrap();
    fs::set_permissions(both.join("c.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let two = TlsFiles { ca: files.ca, certificate: both.join("c.pem"), key: both.join("c.key") };
    assert!(matches!(visit(&two), Err(ConnectError::Files(_))));
    let wrong = linkage(["certificates", "show", both.join("c.pem").to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn the_doctor_names_what_is_wrong_and_nothing_else() {
    let mut site = Federation::set_up(60, 1, 22);
    site.start(&Role::Custodian);
    site.start(&Role::Broker);
    for role in site.roles() {
        let (findings, code) = doctor(&site.config(&role));
        assert_eq!(code, Some(0), "{role:?}: {findings:#?}");
        assert!(findings.iter().all(|f| f["level"] != "fault"), "{role:?}: {findings:#?}");
    }
    let node = Role::Node(site.parties[0].clone());
    let (config, home) = (site.config(&node), site.home(&node));

    // A peer that is away.
    site.stop(&Role::Custodian);
    fault(&config, "pairs", "custodian");
    site.start(&Role::Custodian);

    // A file that others can read.
    let key = home.join("cles/signing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fault(&config, "clés", "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    // Another key than the agreement's.
    let own = fs::read(&key).unwrap();
    linkage_common::config::write_secret(&key, &[7; 32]).unwrap();
    fault(&config, "clés", "n'est pas la clé dont la convention nomme");
    fs::write(&key, own).unwrap();

    // A certificate that has ended; the same of another role.
    let files = tls_files(&site, &node);
    let (certificate, private) = (fs::read(&files.certificate).unwrap(), fs::read(&files.key).unwrap());
    let authority = linkage_common::authority::DevAuthority::create("Autre", jiff::Timestamp::now()).unwrap();
    let past = linkage_common::authority::Validity {
        not_before: jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48),
        not_after: jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24),
    };
    let (ended, its_key) = authority.issue(&files.own_uri().unwrap(), past).unwrap();
    fs::write(&files.certificate, ended).unwrap();
    fs::write(&files.key, its_key.as_bytes()).unwrap();
    fault(&config, "certificat", "expiré depuis");
    let now = linkage_common::authority::Validity::days(jiff::Timestamp::now(), 90);
    let agreement: linkage_agreement::PartyId = "demonstration".parse().unwrap();
    let other = linkage_agreement::certificate_identity(&agreement, &RoleId::Broker);
    let (of_another, its_key) = authority.issue(&other, now).unwrap();
    fs::write(&files.certificate, of_another).unwrap();
    fs::write(&files.key, its_key.as_bytes()).unwrap();
    fault(&config, "certificat", "alors que la convention attend");
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, private).unwrap();

    // An audit log that others can read.
    let log = PathBuf::from(site.setting(&node, "state_dir")).join("audit/principal");
    linkage_common::fsx::create_private_dir(&log).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o755)).unwrap();
    fault(&config, "permissions", "audit/principal : dossier accessible");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).unwrap();

    // Analysts whose logs the node countersigns: one that no agreement names, and the agreement's, who is away.
    let text = fs::read_to_string(&config).unwrap();
    let without = text.split("\n[analyst_urls]").next().unwrap();
    let with_analyst =
        |id: &str| fs::write(&config, format!("{without}\n[analyst_urls]\n{id} = \"https://127.0.0.1:1\"\n")).unwrap();
    with_analyst("inconnu");
    fault(&config, "pairs", "absent de la convention");
    with_analyst("etude");
    let (findings, code) = doctor(&config);
    let away = findings.iter().find(|f| f["text"].as_str().is_some_and(|text| text.contains("contresigné"))).unwrap();
    assert_eq!((code, away["level"].as_str(), away["check"].as_str()), (Some(0), Some("warning"), Some("pairs")));
    fs::write(&config, &text).unwrap();

    // The databases: the analyst's too.
    let (findings, _) = doctor(&site.config(&Role::Analyst));
    assert!(findings.iter().any(|f| f["check"] == "base" && f["level"] == "good"), "{findings:#?}");

    // A key that no configuration has.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("inconnue = 1\n{text}")).unwrap();
    fault(&config, "configuration", "clé inconnue");
    fs::write(&config, text).unwrap();
    assert_eq!(doctor(&config).1, Some(0));
}

#[test]
fn a_peer_that_calls_too_often_is_told_when_to_come_back() {
    let mut site = Federation::set_up(60, 1, 23);
    let path = site.config(&Role::Broker);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[limits]\ncalls_per_minute = 20\n")).unwrap();
    site.start(&Role::Broker);
    linkage_common::tls::install_crypto();
    let files = tls_files(&site, &Role::Node(site.parties[0].clone()));
    let (url, broker) =
        (format!("https://{}", site.setting(&Role::Broker, "listen")), tls_files(&site, &Role::Broker).own_uri().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = linkage_common::tls::connect(&url, &files, &broker, WAIT).await.unwrap();
        let mut client = linkage_proto::v1::runs_client::RunsClient::new(channel);
        let mut refused = None;
        for _ in 0..40 {
            let request = linkage_proto::v1::ListRunsRequest::default();
            if let Err(status) = client.list_runs(request).await
                && status.code() == tonic::Code::ResourceExhausted
            {
                refused = Some(status);
                break;
            }
        }
        let status = refused.expect("forty calls at once passed a limit of twenty a minute");
        assert!(status.message().contains("réessayez dans"), "{}", status.message());
        let wait: u64 = status.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
    });
    assert!(site.log_text(&Role::Broker).contains("too many a minute"));
}

#[test]
fn an_authority_under_a_passphrase_issues_for_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let secret = |name: &str, text: &str| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        at(name)
    };
    let (ca, out) = (at("ca"), at("out"));
    let (right, wrong) = (secret("phrase", "cheval batterie agrafe correct\n"), secret("autre", "une autre phrase de passe\n"));
    let refused = |arguments: &[&str], says: &str| {
        let output = linkage(arguments.iter().copied());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(says), "{told}");
        assert!(!told.contains("cheval") && !told.contains("une autre phrase"), "{told}");
    };
    refused(&["certificates", "init-ca", "--out", &ca, "--passphrase-file", &secret("courte", "court")], "trop courte");
    linkage_ok(["certificates", "init-ca", "--out", &ca, "--passphrase-file", &right]);
    assert!(fs::read_to_string(at("ca/ca.key")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let issue = ["certificates", "issue", "--ca", &ca, "--uri", "linkage://essai/broker", "--out", &out];
    let under = |file| issue.iter().copied().chain(["--passphrase-file", file]).collect::<Vec<_>>();
    refused(&under(&wrong), "phrase de passe refusée");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&under(&wrong), "accessible à d'autres comptes");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    linkage_ok(under(&right));
    // Another passphrase; the list of what was issued needs none.
    linkage_ok(["certificates", "passphrase", "--ca", &ca, "--passphrase-file", &right, "--new-passphrase-file", &wrong]);
    refused(&under(&right), "phrase de passe refusée");
    linkage_ok(["certificates", "crl", "--ca", &ca, "--passphrase-file", &wrong]);
    let shown = linkage(["certificates", "show", "--json", "--ca", &ca]);
    let issued: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(issued.len(), 1, "{issued:?}");
}
