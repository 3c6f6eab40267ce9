//! Running the custodian: the gRPC server and the worker that takes finished runs into the registry.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use linkage_agreement::{PersonId, RoleId};
use linkage_common::audit::{Act, AuditLog};
use linkage_common::clock::SystemClock;
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::metrics::metrics;
use linkage_common::ops::{NotReady, Ops};
use linkage_common::role::Listening;
use linkage_common::signer::Signer;
use linkage_crypto::pseudonym::CustodianScalar;
use linkage_proto::MAX_MESSAGE_BYTES;
use linkage_proto::v1::dispositions_server::DispositionsServer;
use linkage_proto::v1::oprf_server::OprfServer;
use linkage_proto::v1::registry_server::RegistryServer;
use linkage_proto::v1::rights_server::RightsServer;
use rand_core::Rng;
use tokio::sync::Notify;

use crate::config::CustodianConfig;
use crate::leases::REGISTER;
use crate::oprf_keys;
use crate::retention::Retention;
use crate::service::Custodian;
use crate::store::Store;

/// How long a replica registers before another may take over; prolonged while it does.
const LEASE_S: i64 = 30;
/// How long the worker waits before it looks for work by itself.
const IDLE: Duration = Duration::from_secs(5);

/// Serves until `shutdown` resolves.
///
/// # Errors
/// What is wrong with configuration, keys or agreement, before anything is served.
pub async fn serve(config: CustodianConfig, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServiceError> {
    let ops = Ops::start(config.ops.as_ref(), "custodian", &config.data_dir).await?;
    let gate = Arc::new(Gate::load(&config.agreement, Arc::new(SystemClock))?);
    let oprf = oprf_keys::load(&config.oprf_key, gate.agreement())?;
    let scalar = CustodianScalar::from_bytes(&*config.pseudonym_key.read_key().map_err(ServiceError::configuration)?)
        .map_err(ServiceError::configuration)?;
    let signer = Arc::new(Signer::load(&config.signing_key, gate.agreement(), gate.agreement_hash(), RoleId::Custodian)?);
    let audit = AuditLog::open(&config.audit.place(&config.data_dir)?, gate.clone(), RoleId::Custodian)?;
    let store = Store::open_at(&config.place()?).await?;
    let audit = audit.since(store.restored().await?.as_deref())?;
    let pool = store.pool.clone();
    ops.check(NotReady::Database, move || {
        let pool = pool.clone();
        async move { pool.acquire().await.is_ok() }
    });
    let work = Arc::new(Notify::new());
    let custodian = Custodian {
        gate: gate.clone(),
        store,
        oprf: Arc::new(oprf),
        scalar: Arc::new(scalar),
        signer: signer.clone(),
        audit: audit.clone(),
        work,
    };
    let worker = tokio::spawn(work_on(custodian.clone(), Retention::new(&config.data_dir)));
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(OprfServer::new(custodian.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    routes.add_service(RightsServer::new(custodian.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    routes.add_service(DispositionsServer::new(custodian.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES));
    routes.add_service(RegistryServer::new(custodian).max_decoding_message_size(2 * MAX_MESSAGE_BYTES));
    let routes = audit.around(routes, signer);
    let listening = Listening { address: config.listen, tls: &config.tls, crl: config.crl.as_deref(), limits: &config.limits };
    ops.ready(&gate);
    let served = linkage_common::role::serve_on(listening, routes, ops.until(shutdown)).await;
    worker.abort();
    served.and(audit.close())
}

/// Takes clustered runs into the registry, one after the other, and deletes what is over its term.
async fn work_on(custodian: Custodian, mut retention: Retention) {
    let owner = format!("{:016x}", linkage_common::rng().next_u64());
    loop {
        retention.round(&custodian).await;
        if let Err(error) = register_all(&custodian, &owner).await {
            metrics().failed("register");
            tracing::error!(%error, "registering a run failed; it is tried again");
        }
        let _ = tokio::time::timeout(IDLE, custodian.work.notified()).await;
    }
}

/// Owns the lease of registering while this is kept, and prolongs it.
struct Keeper(tokio::task::JoinHandle<()>);

impl Keeper {
    /// `None` while another replica registers.
    async fn begin(custodian: &Custodian, owner: &str) -> Result<Option<Self>, ServiceError> {
        let now = custodian.gate.now();
        if !custodian.store.take_lease(REGISTER, owner, now, now + LEASE_S).await? {
            return Ok(None);
        }
        let (custodian, owner) = (custodian.clone(), owner.to_owned());
        Ok(Some(Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(LEASE_S as u64 / 3)).await;
                let now = custodian.gate.now();
                if let Err(error) = custodian.store.take_lease(REGISTER, &owner, now, now + LEASE_S).await {
                    tracing::warn!(%error, "lease not prolonged");
                }
            }
        }))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn register_all(custodian: &Custodian, owner: &str) -> Result<(), ServiceError> {
    let runs = custodian.store.clustered().await?;
    if runs.is_empty() {
        return Ok(());
    }
    let Some(keeper) = Keeper::begin(custodian, owner).await? else { return Ok(()) };
    let registered = register_each(custodian).await;
    drop(keeper);
    custodian.store.give_lease_back(REGISTER, owner).await?;
    registered
}

async fn register_each(custodian: &Custodian) -> Result<(), ServiceError> {
    let mut failed = None;
    // Read again under the lease: another replica may have registered them.
    for run in custodian.store.clustered().await? {
        let mut rng = linkage_common::rng();
        let measured = metrics().step("register");
        let registered = custodian
            .store
            .register(&run, || {
                let mut id = [0; 16];
                rng.fill_bytes(&mut id);
                PersonId(id)
            })
            .await;
        // One run that cannot be registered does not hold up those after it.
        match registered {
            Ok(persons) => {
                linkage_common::store::scrub(&custodian.store.pool).await;
                custodian.audit.record(Act::own("run.registered").run(&run).records(persons)).await?;
                measured.end("done");
                metrics().succeeded("register", custodian.gate.now());
                tracing::info!(run = %run, persons, "link table ready");
            }
            Err(error) => {
                measured.end("failed");
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
