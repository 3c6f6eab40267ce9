//! Running the broker: the gRPC server and one worker.

use std::future::Future;
use std::sync::Arc;

use linkage_agreement::RoleId;
use linkage_common::audit::AuditLog;
use linkage_common::blob::BlobStore;
use linkage_common::clock::SystemClock;
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::ops::{NotReady, Ops};
use linkage_common::role::Listening;
use linkage_common::signer::Signer;
use linkage_proto::MAX_MESSAGE_BYTES;
use linkage_proto::v1::dispositions_client::DispositionsClient;
use linkage_proto::v1::keys_server::KeysServer;
use linkage_proto::v1::registry_client::RegistryClient;
use linkage_proto::v1::run_rights_server::RunRightsServer;
use linkage_proto::v1::runs_server::RunsServer;
use rand_core::Rng;
use tokio::sync::Notify;

use crate::config::BrokerConfig;
use crate::retention::Retention;
use crate::service::Broker;
use crate::spill::SpillFolder;
use crate::store::Store;
use crate::worker::Worker;

/// Serves until `shutdown` resolves.
///
/// # Errors
/// What is wrong with configuration, keys or agreement, before anything is served.
pub async fn serve(config: BrokerConfig, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServiceError> {
    let ops = Ops::start(config.ops.as_ref(), "broker", &config.data_dir).await?;
    let gate = Arc::new(Gate::load(&config.agreement, Arc::new(SystemClock))?);
    let signer = Arc::new(Signer::load(&config.signing_key, gate.agreement(), gate.agreement_hash(), RoleId::Broker)?);
    let audit = AuditLog::open(&config.audit.place(&config.data_dir)?, gate.clone(), RoleId::Broker)?;
    let store = Store::open_at(&config.place()?).await?;
    let audit = audit.since(store.restored().await?.as_deref())?;
    let pool = store.pool.clone();
    ops.check(NotReady::Database, move || {
        let pool = pool.clone();
        async move { pool.acquire().await.is_ok() }
    });
    let blobs = BlobStore::open(config.objects.as_ref(), &config.data_dir, "uploads")?;
    let outputs = BlobStore::open(config.objects.as_ref(), &config.data_dir, "outputs")?;
    let channel =
        linkage_common::tls::connect_lazy(&config.custodian_url, &config.tls, &gate.agreement().custodian.certificate_identity)
            .map_err(ServiceError::configuration)?;
    let spill = config.data_dir.join("spill");
    // What a process that was killed may have left.
    drop(SpillFolder::new(&spill)?);
    let broker =
        Broker { gate: gate.clone(), store, blobs, signer: signer.clone(), audit: audit.clone(), work: Arc::new(Notify::new()) };
    let owner = format!("{:016x}", linkage_common::rng().next_u64());
    let worker = Worker {
        broker: broker.clone(),
        outputs,
        spill,
        held: config.data_dir.join("held"),
        shared: config.objects.is_some(),
        memory_bytes: config.memory_mib.saturating_mul(1 << 20),
        custodian: RegistryClient::new(channel.clone()),
        dispositions: DispositionsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        retention: Retention::new(&config.data_dir),
        owner,
    };
    let worker = tokio::spawn(worker.run());
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(RunRightsServer::new(broker.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    routes.add_service(RunsServer::new(broker.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    routes.add_service(KeysServer::new(broker).max_decoding_message_size(MAX_MESSAGE_BYTES));
    let routes = audit.around(routes, signer);
    let listening = Listening { address: config.listen, tls: &config.tls, crl: config.crl.as_deref(), limits: &config.limits };
    ops.ready(&gate);
    let served = linkage_common::role::serve_on(listening, routes, ops.until(shutdown)).await;
    worker.abort();
    served.and(audit.close())
}
