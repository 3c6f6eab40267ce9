//! Running the analyst's side: a worker that fetches link tables, and the gRPC server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use linkage_agreement::{RoleId, RunId};
use linkage_common::audit::AuditLog;
use linkage_common::clock::SystemClock;
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::metrics::metrics;
use linkage_common::ops::{NotReady, Ops};
use linkage_common::retention::Pace;
use linkage_common::role::Listening;
use linkage_common::signer::Signer;
use linkage_common::tls::Channel;
use linkage_crypto::pseudonym::AnalystScalar;
use linkage_crypto::seal::SealingKey;
use linkage_proto::MAX_MESSAGE_BYTES;
use linkage_proto::v1::cohorts_server::CohortsServer;
use linkage_proto::v1::registry_client::RegistryClient;
use linkage_proto::v1::rights_client::RightsClient;
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::config::AnalystConfig;
use crate::desk::Desk;
use crate::fetch::{Holdings, Keys, fetch_new, row_level};
use crate::journal::Journal;
use crate::retention::Keeper;
use crate::rights::Follower;
use crate::service::Analyst;
use crate::study::StudyStore;
use crate::tables::Tables;
use crate::users::Users;

/// How often the custodian is asked for new link tables.
const POLL: Duration = Duration::from_secs(2);
/// Longest pause after errors in a row.
const MAX_PAUSE: Duration = Duration::from_secs(60);

struct Fetcher {
    gate: Arc<Gate>,
    keys: Keys,
    holdings: Holdings,
    client: RegistryClient<Channel>,
    follower: Follower,
}

impl Fetcher {
    /// Follows what persons have asked for, then fetches what is new.
    async fn once(&mut self) -> Result<Vec<RunId>, ServiceError> {
        let followed = self.follower.follow(&self.gate, &self.keys, &self.holdings, &mut self.client).await;
        let fetched = fetch_new(&self.gate, &self.keys, &self.holdings, &mut self.client).await?;
        followed.map(|()| fetched)
    }
}

async fn fetcher(config: &AnalystConfig) -> Result<Fetcher, ServiceError> {
    let gate = Arc::new(Gate::load(&config.agreement, Arc::new(SystemClock))?);
    let mine = gate.agreement().analyst.iter().find(|a| a.id == config.analyst).ok_or_else(|| {
        ServiceError::refused("la convention ne nomme aucun destinataire de cet identifiant ; corrigez « analyst »")
    })?;
    let sealing = SealingKey::from_bytes(&*config.sealing_key.read_key().map_err(ServiceError::configuration)?);
    if sealing.public_key().to_base64() != mine.sealing_key {
        return Err(ServiceError::refused(
            "la clé de scellement n'est pas celle dont la convention nomme la partie publique ; vérifiez « sealing_key »",
        ));
    }
    let scalar = AnalystScalar::from_bytes(&*config.pseudonym_key.read_key().map_err(ServiceError::configuration)?)
        .map_err(ServiceError::configuration)?;
    let holdings = Holdings {
        tables: Tables::open(&config.data_dir)?,
        study: StudyStore::open(&config.data_dir, gate.agreement())?,
        row_level: row_level(&gate, &config.analyst),
    };
    let channel =
        linkage_common::tls::connect_lazy(&config.custodian_url, &config.tls, &gate.agreement().custodian.certificate_identity)
            .map_err(ServiceError::configuration)?;
    let signer =
        Signer::load(&config.signing_key, gate.agreement(), gate.agreement_hash(), RoleId::Analyst(config.analyst.clone()))?;
    let follower =
        Follower { client: RightsClient::new(channel.clone()), signer, journal: Journal::open_at(&config.place()?).await? };
    let client = RegistryClient::new(channel).max_decoding_message_size(4 * MAX_MESSAGE_BYTES);
    Ok(Fetcher { gate, keys: Keys { sealing, scalar: Arc::new(scalar) }, holdings, client, follower })
}

/// Fetches the link tables that are ready now; returns their runs.
pub async fn fetch_once(config: &AnalystConfig) -> Result<Vec<RunId>, ServiceError> {
    fetcher(config).await?.once().await
}

/// Makes the study again: from the runs' tables where they are whole, from the custodian where they are not or hold no rows.
/// Returns the runs that were fetched again.
pub async fn rebuild(config: &AnalystConfig) -> Result<Vec<RunId>, ServiceError> {
    let tables = Tables::open(&config.data_dir)?;
    for run in tables.runs()? {
        if tables.read(&run).is_err() {
            tracing::warn!(run = %run, "tables damaged; fetched again");
            tables.forget(&run)?;
        }
    }
    let mut f = fetcher(config).await?;
    f.holdings.study.rebuild(&tables)?;
    fetch_new(&f.gate, &f.keys, &f.holdings, &mut f.client).await
}

/// As [`serve_announcing`], for those who have no terminal.
///
/// # Errors
/// As there.
pub async fn serve(config: AnalystConfig, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServiceError> {
    serve_announcing(config, |_| {}, shutdown).await
}

/// Serves until `shutdown` resolves, fetching link tables as they become ready; the page as well, where the configuration
/// has one. `announce` is given the link that opens the page once, where the configuration asks for it: it is for the
/// terminal and never enters the log.
///
/// # Errors
/// What is wrong with configuration, keys or agreement, before anything is served.
pub async fn serve_announcing(
    config: AnalystConfig,
    announce: impl FnOnce(&str) + Send,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServiceError> {
    let ops = Ops::start(config.ops.as_ref(), "analyst", &config.data_dir).await?;
    let mut f = fetcher(&config).await?;
    let gate = f.gate.clone();
    let data = config.data_dir.clone();
    ops.check(NotReady::Storage, move || std::future::ready(data.is_dir()));
    let role = RoleId::Analyst(config.analyst.clone());
    let signer = Arc::new(Signer::load(&config.signing_key, gate.agreement(), gate.agreement_hash(), role.clone())?);
    let audit = AuditLog::open(&config.audit.place(&config.data_dir)?, gate.clone(), role)?;
    let access = AccessLog::open(&config.data_dir, Arc::new(SystemClock))?;
    let keeper = Keeper {
        gate: gate.clone(),
        data_dir: config.data_dir.clone(),
        tables: f.holdings.tables.clone(),
        study: f.holdings.study.clone(),
        access: access.clone(),
        signer: signer.clone(),
        audit: audit.clone(),
        users: Users::of(&f.follower.journal),
        told: Arc::default(),
    };
    let at_end = keeper.clone();
    let desk = Arc::new(Desk::open(&config, f.gate.clone(), access).await?);
    let page = crate::page::open(&config, f.gate.clone(), desk.clone()).await?;
    if let Some(link) = page.as_ref().and_then(|p| p.one_time_url.as_deref()) {
        announce(link);
    }
    let service = Analyst { desk };
    let worker = tokio::spawn(async move {
        let mut pause = POLL;
        let mut pace = Pace::of(&keeper.data_dir);
        loop {
            keeper.round(&mut pace).await;
            pause = match f.once().await {
                Ok(_) => {
                    metrics().succeeded("fetch", f.gate.now());
                    POLL
                }
                Err(error) => {
                    metrics().failed("fetch");
                    tracing::warn!(%error, pause_s = pause.as_secs(), "link tables could not be fetched; tried again");
                    (pause * 2).min(MAX_PAUSE)
                }
            };
            tokio::time::sleep(pause).await;
        }
    });
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(CohortsServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES));
    let routes = audit.around(routes, signer);
    let listening = Listening { address: config.listen, tls: &config.tls, crl: config.crl.as_deref(), limits: &config.limits };
    let (stop, stopped) = watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move {
            // The sender's end, too, ends the servers.
            let _ = stopped.wait_for(|&stopped| stopped).await;
        }
    };
    let page = async {
        match page {
            Some(page) => page.serve(until_stopped()).await,
            None => Ok(()),
        }
    };
    ops.ready(&gate);
    let stopping = async {
        ops.until(shutdown).await;
        let _ = stop.send(true);
        Ok(())
    };
    let calls = linkage_common::role::serve_on(listening, routes, until_stopped());
    let served = tokio::try_join!(calls, page, stopping).map(|_| ());
    worker.abort();
    served.and(at_end.tell_head()).and(audit.close())
}
