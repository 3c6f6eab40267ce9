//! A restoration that a partner has seen stays to be met until it is.

use linkage_proto::v1::audit_client::AuditClient;

use super::*;
use crate::tls::Channel;

const RESTORED: &str = "principal.restored-20260110t120000000z";

fn witness(site: &Site) -> Witness {
    let role = RoleId::Party("ccas".parse().unwrap());
    let place = AuditConfig::default().place(&site.folder().join("ccas")).unwrap();
    let log = AuditLog::open(&place, site.gate.clone(), role.clone()).unwrap();
    Witness::open(log, site.signer_of(role)).unwrap()
}

#[tokio::test]
async fn a_restoration_is_to_be_met_until_it_is_said_to_be_whatever_became_of_the_look() {
    let site = Site::new();
    let log = site.log();
    log.note(Act::own("backup.restored")).unwrap();
    let (hash, at) = (site.gate.agreement_hash(), site.gate.now());
    let signed = |name: &str| Checkpoint::sign(name, &log.head().unwrap(), at, &hash, &site.signer());
    // Nobody is there to hand the countersignature over to.
    let nobody = || {
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        AuditClient::new(Channel::new(channel, "linkage://essai/broker/broker"))
    };
    let role = RoleId::Broker;
    let first = witness(&site);
    first.countersign(&role, &mut nobody(), signed("principal")).await.unwrap_err();
    assert!(first.restorations(&role).is_empty(), "not a restoration");
    first.countersign(&role, &mut nobody(), signed(RESTORED)).await.unwrap_err();
    assert_eq!(first.restorations(&role), [RESTORED]);
    assert!(first.restorations(&RoleId::Custodian).is_empty(), "of this role alone");
    drop(first);

    let again = witness(&site);
    assert_eq!(again.restorations(&role), [RESTORED], "after the process was killed");
    again.restorations_met(&role, &["principal.restored-20250101t000000000z".to_owned()]).unwrap();
    assert_eq!(again.restorations(&role), [RESTORED], "another one was met");
    again.restorations_met(&role, &[RESTORED.to_owned()]).unwrap();
    assert!(again.restorations(&role).is_empty());
    log.note(Act::own("run.linked")).unwrap();
    again.countersign(&role, &mut nobody(), signed(RESTORED)).await.unwrap_err();
    assert!(again.restorations(&role).is_empty(), "the log goes on: it is the same restoration");
    // Another process of the role tells of it too, and of a later one.
    again.countersign(&role, &mut nobody(), signed(&RESTORED.replace("principal", "courtier-2"))).await.unwrap_err();
    assert!(again.restorations(&role).is_empty(), "the same restoration");
    let later = "courtier-2.restored-20260110t130000000z";
    again.countersign(&role, &mut nobody(), signed(later)).await.unwrap_err();
    assert_eq!(again.restorations(&role), [later]);
    again.restorations_met(&role, &[later.to_owned()]).unwrap();
    drop(again);
    assert!(witness(&site).restorations(&role).is_empty());
}
