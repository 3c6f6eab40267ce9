//! OPRF keys over several epochs at the custodian: what destroying the former ones leaves behind, also after an interruption, and who
//! is waited for before.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkage_agreement::{PartyId, RoleId};
use linkage_common::clock::SystemClock;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_crypto::oprf::Blinder;
use linkage_custodian::oprf_keys::{destroy_former, load, next, source};
use linkage_proto::v1;
use linkage_tests::fixture::{PERIOD, World, refused};
use linkage_tests::wire::AtCustodian;
use tonic::Code;

fn gate(world: &World) -> Arc<Gate> {
    Arc::new(Gate::load(&world.files(), Arc::new(SystemClock)).unwrap())
}

/// The next epoch's key is drawn and its agreement put in force; gives the key's file.
fn new_epoch(world: &mut World) -> PathBuf {
    let drawn = next(&world.custodian_config()).unwrap();
    world.amend(|agreement| {
        agreement.custodian.oprf_public_key.clone_from(&drawn.public_key);
        agreement.encoding.oprf_epoch = Some(drawn.epoch);
    });
    drawn.file
}

async fn destroyed(world: &World, despite: bool) -> Result<Vec<PartyId>, ServiceError> {
    destroy_former(&world.custodian_config(), &gate(world), despite).await
}

/// The custodian's OPRF key files and their bytes.
fn keys(world: &World) -> BTreeMap<String, Vec<u8>> {
    let configured = world.secret(&RoleId::Custodian, "oprf").file.unwrap();
    let stem = configured.file_stem().unwrap().to_str().unwrap();
    let of_the_oprf = |name: &str| {
        name == configured.file_name().unwrap()
            || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('-') || rest == ".former")
    };
    fs::read_dir(configured.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| of_the_oprf(name))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

#[tokio::test]
async fn keys_of_all_former_epochs_are_overwritten_and_gone() {
    let mut world = World::new();
    let configured = world.secret(&RoleId::Custodian, "oprf").file.unwrap();
    let second = new_epoch(&mut world);
    let third = new_epoch(&mut world);
    // What an earlier interruption left under the name that former keys once had.
    let stale = configured.with_extension("former");
    fs::write(&stale, "0000000000000000000000000000000000000000000=\n").unwrap();
    // Second names of the same bytes, by which it is seen that they were overwritten and not only unlinked.
    let seen = |path: &Path| world.path(&format!("seen-{}", path.file_name().unwrap().to_str().unwrap()));
    for path in [&configured, &second, &stale] {
        fs::hard_link(path, seen(path)).unwrap();
    }
    let in_force = fs::read(&third).unwrap();
    assert_eq!(destroyed(&world, true).await.unwrap(), []);
    let name = configured.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(keys(&world), BTreeMap::from([(name, in_force.clone())]));
    for path in [&configured, &second, &stale] {
        assert!(fs::read(seen(path)).unwrap().iter().all(|byte| *byte == b'0'), "{}", path.display());
    }
    let before = keys(&world);
    assert_eq!(destroyed(&world, false).await.unwrap(), [], "nothing is left to wait for");
    assert_eq!(keys(&world), before);

    // The key of an epoch to come is not a former one.
    let fourth = next(&world.custodian_config()).unwrap();
    assert_eq!(destroyed(&world, true).await.unwrap(), []);
    assert_eq!(fs::read(&configured).unwrap(), in_force);
    assert!(fourth.file.is_file());
}

#[tokio::test]
async fn an_interrupted_destruction_is_ended_by_the_same_command() {
    let mut world = World::new();
    let config = world.custodian_config();
    let configured = config.oprf_key.file.clone().unwrap();
    let second = new_epoch(&mut world);
    let in_force = fs::read(&second).unwrap();
    let agreement = world.agreement.clone();
    // While the former key is being overwritten, and once it is gone, the key in force is found.
    for interrupted in [Some(b"0".repeat(44)), None] {
        fsx::write_atomic(&second, &in_force).unwrap();
        match interrupted {
            Some(zeros) => fsx::write_atomic(&configured, &zeros).unwrap(),
            None => fs::remove_file(&configured).unwrap(),
        }
        assert_eq!(source(&config.oprf_key, &agreement).unwrap().file.as_ref(), Some(&second));
        load(&config.oprf_key, &agreement).unwrap();
        assert_eq!(destroyed(&world, true).await.unwrap(), []);
        assert_eq!((fs::read(&configured).unwrap(), second.is_file()), (in_force.clone(), false));
    }
    // Zeros under the name that former keys once had.
    fs::write(configured.with_extension("former"), b"0".repeat(44)).unwrap();
    assert_eq!(destroyed(&world, true).await.unwrap(), []);
    assert_eq!(keys(&world).len(), 1);
    // The key in force is never destroyed, whatever its file is called.
    fsx::write_atomic(&configured.with_extension("former"), &in_force).unwrap();
    assert!(destroyed(&world, true).await.unwrap_err().to_string().contains("rien n'a été détruit"));
    assert_eq!(keys(&world).len(), 2);
}

#[tokio::test]
async fn a_refused_call_does_not_tell_that_a_party_has_loaded_the_amendment() {
    let mut world = World::new();
    let former = world.reference();
    new_epoch(&mut world);
    let served = world.serve_custodian();
    let blinded = Blinder::blind(&[b"input".to_vec()], &mut linkage_common::rng()).unwrap().1;
    for name in ["ccas", "siao", "caf"] {
        let mut party = AtCustodian::party(&world, name).await;
        let under_the_former =
            v1::EvaluateRequest { agreement: former.clone(), period: PERIOD.into(), blinded: blinded.clone().into() };
        refused(party.oprf.evaluate(under_the_former).await, Code::PermissionDenied, "autre version");
    }
    AtCustodian::party(&world, "siao").await.declare(10).await.unwrap();
    served.stop().await;
    let before = keys(&world);
    let waited: Vec<String> = destroyed(&world, false).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(waited, ["ccas", "caf"]);
    assert_eq!(keys(&world), before);
}
