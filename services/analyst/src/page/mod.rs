//! The analyst's page: figures in a browser, after disclosure control.
//!
//! Server-rendered, without script, nothing from elsewhere. It listens beside the gRPC service, knows no names, and takes
//! every figure from the one place that answers queries; each look and each export enters the access log before it is
//! shown. Whoever is not let in learns neither that the agreement nor that a cohort exists.

mod answers;
mod build;
mod chart;
pub mod config;
mod form;
mod guard;
mod https;
mod journal;
mod lang;
mod layout;
mod listen;
mod login;
mod oidc;
mod overview;
mod reports;
mod rows;
mod runs;
mod session;
mod table;
mod text;
pub mod token;
mod users;
mod views;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use linkage_agreement::PartyId;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::gate::Gate;
use linkage_common::tls::{Limits, ServerTls};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::access::Who;
use crate::config::AnalystConfig;
use crate::desk::Desk;
use crate::tables::Tables;
use answers::Kept;
use config::PageConfig;
use lang::Lang;
use login::OneTime;
use oidc::Oidc;
use overview::Estimates;
use runs::Runs;
use session::{Rate, Sessions, random_text};

/// Bytes of a form.
const FORM_BYTES: usize = 128 << 10;
/// How often a new release is looked for.
const PREPARE_EVERY: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 256;

/// What every handler works with.
struct Page {
    gate: Arc<Gate>,
    analyst: PartyId,
    config: PageConfig,
    host: String,
    origin: String,
    sessions: Sessions,
    rate: Rate,
    login_rate: Rate,
    oidc: Option<Oidc>,
    link: OneTime,
    desk: Arc<Desk>,
    tables: Tables,
    runs: Option<Runs>,
    kept: Kept,
    estimates: Estimates,
}

/// A page that listens.
pub struct Ready {
    page: Arc<Page>,
    listener: TcpListener,
    tls: ServerTls,
    limits: Limits,
    /// The address that opens the page once, where the configuration asks for one: for the terminal, not for the log.
    pub one_time_url: Option<String>,
}

/// Opens the page's listener, where the configuration has a `[page]`.
///
/// # Errors
/// What is wrong with the section, its files or its address.
pub async fn open(config: &AnalystConfig, gate: Arc<Gate>, desk: Arc<Desk>) -> Result<Option<Ready>, ServiceError> {
    let Some(page) = &config.page else { return Ok(None) };
    page.check()?;
    let files = page.tls.as_ref().unwrap_or(&config.tls);
    let tls = ServerTls::load_for_browsers(files, config.crl.as_deref()).map_err(ServiceError::configuration)?;
    let address = page.listen;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        ServiceError::configuration(format!("[page] {address} : écoute impossible ({e}) ; le port est-il déjà pris ?"))
    })?;
    let origin = page.origin();
    let oidc = page.oidc.as_ref().map(|c| Oidc::new(c, format!("{origin}/connexion/retour"))).transpose()?;
    let runs = page.broker_url.as_ref().map(|url| Runs::new(url, &config.tls, gate.clone())).transpose()?;
    let token = page.local_link.then(random_text);
    let one_time_url = token.as_ref().map(|token| format!("{origin}/entree?jeton={token}"));
    let state = Page {
        gate,
        analyst: config.analyst.clone(),
        host: page.host().unwrap_or_default(),
        origin,
        sessions: Sessions::new(page.idle_minutes, page.session_hours),
        rate: Rate::new(600.0, 200.0),
        login_rate: Rate::new(60.0, 60.0),
        oidc,
        link: OneTime::new(token.as_deref()),
        desk,
        tables: Tables::open(&config.data_dir)?,
        runs,
        estimates: Estimates::default(),
        kept: Kept::default(),
        config: page.clone(),
    };
    let limits = Limits { max_connections: CONNECTIONS, ..config.limits.clone() };
    Ok(Some(Ready { page: Arc::new(state), listener, tls, limits, one_time_url }))
}

impl Ready {
    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServiceError> {
        tracing::info!(address = %self.page.config.listen, "page listening");
        let mut background = JoinSet::new();
        background.spawn(prepare(self.page.clone()));
        listen::serve(self.listener, self.tls, &self.limits, router(self.page), shutdown).await
    }
}

/// Asks what the overview asks, for each release once, so that the first view is there at once.
async fn prepare(page: Arc<Page>) {
    let who = Who::Console("préparation de la page".to_owned());
    let mut prepared = None;
    loop {
        if let Ok(release) = page.desk.release()
            && prepared.as_ref() != Some(&release)
        {
            // Titles apart, the other languages ask the same.
            let made = async {
                match views::stock_of_all(Lang::Fr, &*page.study().await?) {
                    Some(query) => page.table(&query, &who).await.map(drop),
                    None => Ok(()),
                }
            };
            match made.await {
                Ok(()) => prepared = Some(release),
                // What is refused stays refused until there is another release; the rest is tried again.
                Err(error) if !matches!(error.kind, ErrorKind::Internal | ErrorKind::Unavailable) => {
                    tracing::warn!(%error, "the page's overview cannot be prepared");
                    prepared = Some(release);
                }
                Err(error) => tracing::warn!(%error, "the page's overview could not be prepared; tried again"),
            }
        }
        tokio::time::sleep(PREPARE_EVERY).await;
    }
}

fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/style.css", get(style))
        .route("/icone.svg", get(icon))
        .route("/langue/{code}", get(login::language))
        .route("/connexion", get(login::form))
        .route("/connexion/certificat", get(login::certificate))
        .route("/connexion/fournisseur", get(login::provider))
        .route("/connexion/retour", get(login::back))
        .route("/entree", get(login::link))
        .route("/sortie", post(login::leave))
        .route("/", get(views::overview))
        .route("/flux", get(views::flows))
        .route("/recouvrements", get(views::overlaps))
        .route("/parcours", get(views::paths))
        .route("/requete", get(build::form).post(build::document))
        .route("/requete/document", get(build::save))
        .route("/tableau/{format}", get(journal::draft))
        .route("/rapports", get(reports::list))
        .route("/rapports/{kind}", get(reports::one).post(reports::publish))
        .route("/rapports/{kind}/{format}", get(reports::export))
        .route("/publications", get(journal::list).post(journal::publish))
        .route("/publications/{id}", get(journal::one))
        .route("/publications/{id}/{format}", get(journal::export))
        .route("/donnees", get(rows::list))
        .route("/utilisateurs", get(users::list).post(users::switch))
        .route("/donnees/{run}/{file}", get(rows::file))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(from_fn_with_state(page.clone(), guard::guard))
        .with_state(page)
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg")).into_response()
}

/// Every address that there is not, known or unknown to the visitor.
async fn nowhere(headers: HeaderMap) -> Response {
    let lang = guard::lang(&headers);
    layout::refusal(lang, StatusCode::NOT_FOUND, lang.texts().not_found)
}
