//! The demonstration's organisations on disk: keys, certificates, agreement, configurations. Each role's folder holds only
//! what that role would have on its own machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use linkage_agreement::defaults::Term;
use linkage_agreement::model::{Attribute, Identity, Rule};
use linkage_agreement::{Agreement, ParsedAgreement, PartyId, Period, RoleId, Signatures, certificate_identity, sign};
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::clock::{Clock, SystemClock};
use linkage_common::config::write_secret;
use linkage_common::fsx;
use linkage_node::intake::propose;
use linkage_synth::SynthSummary;

use crate::secrets::Secrets;

/// File that marks a folder as a demonstration's.
pub const MARK: &str = ".linkage-demo";
/// Days that the demonstration's certificates hold.
const CERTIFICATE_DAYS: i64 = 30;

/// The folders of all organisations.
pub struct Site {
    folder: PathBuf,
    /// Parties; the first is the coordinator.
    pub parties: Vec<PartyId>,
    /// Smallest count published.
    pub minimum_cell: u64,
    /// Where broker, custodian and analyst listen.
    pub addresses: [SocketAddr; 3],
    /// Where the analyst's page listens.
    pub page: SocketAddr,
}

impl Site {
    /// Builds everything under `folder`.
    pub fn build(folder: &Path, data: &SynthSummary, seed: Option<u64>) -> anyhow::Result<Self> {
        let secrets = Secrets::new(seed);
        let parties: Vec<PartyId> = data.parties.iter().map(|p| p.parse()).collect::<Result<_, _>>()?;
        let first: Period = data.months.first().context("no month")?.parse()?;
        let mut sizes: BTreeMap<PartyId, u64> = BTreeMap::new();
        for file in &data.files {
            let size = sizes.entry(file.party.parse()?).or_default();
            *size = (*size).max(file.records);
        }
        let agreement = agreement(&secrets, &parties, &sizes, first)?;
        let minimum_cell = u64::from(agreement.disclosure.minimum_cell);
        let [broker, custodian, analyst, page] = free_addresses()?;
        let addresses = [broker, custodian, analyst];
        let site = Self { folder: folder.to_owned(), parties, minimum_cell, addresses, page };
        site.write_agreement(&agreement, &secrets)?;
        let authority = DevAuthority::create("Démonstration Trait d'union", SystemClock.now())?;
        authority.save(&site.folder.join("autorite"))?;
        for (role, name) in site.roles() {
            site.write_role(&authority, &secrets, &agreement.agreement.id, &role, &name)?;
        }
        for party in &site.parties {
            let file = data.files.iter().find(|f| f.party == party.as_str()).context("no file")?;
            let mapping = propose(party, &file.raw)?.mapping.confirm();
            fsx::write_atomic(&site.mapping(party), mapping.to_toml(|_| None).as_bytes())?;
        }
        Ok(site)
    }

    fn roles(&self) -> Vec<(RoleId, String)> {
        let mut roles = vec![(RoleId::Broker, "courtier".to_owned()), (RoleId::Custodian, "tiers".to_owned())];
        if let Ok(analyst) = "etude".parse() {
            roles.push((RoleId::Analyst(analyst), "etude".to_owned()));
        }
        roles.extend(self.parties.iter().map(|p| (RoleId::Party(p.clone()), format!("noeuds/{p}"))));
        roles
    }

    fn write_agreement(&self, agreement: &Agreement, secrets: &Secrets) -> anyhow::Result<()> {
        let text = agreement.to_toml();
        let parsed = ParsedAgreement::parse(&text, "convention.toml")
            .map_err(|faults| anyhow::anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        let mut signatures = Signatures::default();
        for party in &self.parties {
            let key = linkage_agreement::signature::SigningKey::from_bytes(&secrets.key(&format!("party/{party}/signing")));
            signatures.add(sign(&parsed, party, &key, SystemClock.today())?);
        }
        fsx::write_atomic_public(&self.folder.join("convention.toml"), text.as_bytes())?;
        fsx::write_atomic_public(&self.folder.join("convention.signatures.toml"), signatures.to_toml().as_bytes())?;
        fsx::create_private_dir(&self.folder.join("denonciations"))?;
        fsx::create_private_dir(&self.logs())?;
        Ok(())
    }

    fn write_role(
        &self,
        authority: &DevAuthority,
        secrets: &Secrets,
        agreement: &PartyId,
        role: &RoleId,
        name: &str,
    ) -> anyhow::Result<()> {
        let home = self.folder.join(name);
        let keys = home.join("cles");
        fsx::create_private_dir(&keys)?;
        let tls = authority.issue_files(
            &certificate_identity(agreement, role),
            Validity::days(SystemClock.now(), CERTIFICATE_DAYS),
            &home.join("tls"),
            "certificat",
        )?;
        let secret_name = match role {
            RoleId::Party(id) => format!("party/{id}"),
            RoleId::Broker => "broker".to_owned(),
            RoleId::Custodian => "custodian".to_owned(),
            RoleId::Analyst(id) => format!("analyst/{id}"),
        };
        let key = |file: &str, bytes: &[u8; 32]| write_secret(&keys.join(file), bytes);
        key("signing.key", &secrets.signing(&secret_name).to_bytes())?;
        let url = |at: usize| format!("https://{}", self.addresses[at]);
        let path = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
        let mut text = format!(
            "[agreement]\nagreement = {}\nsignatures = {}\nterminations = {}\n\n[tls]\nca = {}\ncertificate = {}\nkey = {}\n",
            path(self.folder.join("convention.toml")),
            path(self.folder.join("convention.signatures.toml")),
            path(self.folder.join("denonciations")),
            path(tls.ca),
            path(tls.certificate),
            path(tls.key)
        );
        let mut secret = |name: &str, file: &str| text.push_str(&format!("\n[{name}]\nfile = {}\n", path(keys.join(file))));
        let head = match role {
            RoleId::Broker => {
                secret("signing_key", "signing.key");
                format!(
                    "listen = \"{}\"\ndata_dir = {}\ncustodian_url = \"{}\"\n",
                    self.addresses[0],
                    path(home.join("donnees")),
                    url(1)
                )
            }
            RoleId::Custodian => {
                key("oprf.key", &secrets.oprf()?.to_bytes())?;
                key("pseudonym.key", &secrets.custodian_scalar().to_bytes())?;
                secret("oprf_key", "oprf.key");
                secret("pseudonym_key", "pseudonym.key");
                secret("signing_key", "signing.key");
                format!("listen = \"{}\"\ndata_dir = {}\n", self.addresses[1], path(self.custodian_data()))
            }
            RoleId::Analyst(id) => {
                key("sealing.key", &secrets.sealing(&secret_name).to_bytes())?;
                key("pseudonym.key", &secrets.analyst_scalar(&secret_name).to_bytes())?;
                secret("sealing_key", "sealing.key");
                secret("pseudonym_key", "pseudonym.key");
                secret("signing_key", "signing.key");
                text.push_str(&self.page_section(authority, &home)?);
                format!(
                    "analyst = \"{id}\"\nlisten = \"{}\"\ndata_dir = {}\ncustodian_url = \"{}\"\n",
                    self.addresses[2],
                    path(self.analyst_data()),
                    url(1)
                )
            }
            RoleId::Party(id) => {
                key("sealing.key", &secrets.sealing(&secret_name).to_bytes())?;
                key("storage.key", &secrets.key(&format!("{secret_name}/storage")))?;
                key("contribution.key", &secrets.key(&format!("{secret_name}/contribution")))?;
                secret("storage_key", "storage.key");
                secret("signing_key", "signing.key");
                secret("sealing_key", "sealing.key");
                secret("group_contribution", "contribution.key");
                text.push_str(&format!("\n[analyst_urls]\netude = \"{}\"\n", url(2)));
                format!(
                    "party = \"{id}\"\nstate_dir = {}\ninbox_dir = {}\nmapping = {}\nbroker_url = \"{}\"\ncustodian_url = \"{}\"\n",
                    path(self.state(id)),
                    path(self.inbox(id)),
                    path(self.mapping(id)),
                    url(0),
                    url(1)
                )
            }
        };
        fsx::write_atomic(&home.join("linkage.toml"), format!("{head}\n{text}").as_bytes())?;
        Ok(())
    }

    /// The page's section: its own certificate for this machine's browsers, and a link that opens it once.
    fn page_section(&self, authority: &DevAuthority, home: &Path) -> anyhow::Result<String> {
        let (certificate, key) = authority.issue_local_server(Validity::days(SystemClock.now(), CERTIFICATE_DAYS))?;
        let tls = home.join("tls");
        fsx::write_atomic_public(&tls.join("page.pem"), certificate.as_bytes())?;
        fsx::write_atomic(&tls.join("page.key"), key.as_bytes())?;
        let path = |name: &str| toml::Value::String(tls.join(name).display().to_string()).to_string();
        Ok(format!(
            "\n[page]\nlisten = \"{0}\"\npublic_url = \"https://{0}\"\nlocal_link = true\nbroker_url = \"https://{4}\"\n\n[page.tls]\nca = {1}\ncertificate = {2}\nkey = {3}\n",
            self.page,
            path("ca.pem"),
            path("page.pem"),
            path("page.key"),
            self.addresses[0]
        ))
    }

    fn node_home(&self, party: &PartyId) -> PathBuf {
        self.folder.join("noeuds").join(party.as_str())
    }
    /// A node's configuration.
    pub fn node_config(&self, party: &PartyId) -> PathBuf {
        self.node_home(party).join("linkage.toml")
    }
    /// A node's inbox.
    pub fn inbox(&self, party: &PartyId) -> PathBuf {
        self.node_home(party).join("depot")
    }
    /// A node's encrypted state.
    pub fn state(&self, party: &PartyId) -> PathBuf {
        self.node_home(party).join("etat")
    }
    /// A node's column mapping.
    pub fn mapping(&self, party: &PartyId) -> PathBuf {
        self.node_home(party).join("correspondance.toml")
    }
    /// Configurations of broker, custodian and analyst, with the command that serves them.
    pub fn servers(&self) -> [(&'static str, PathBuf); 3] {
        [("broker", "courtier"), ("custodian", "tiers"), ("analyst", "etude")]
            .map(|(command, home)| (command, self.folder.join(home).join("linkage.toml")))
    }
    /// The custodian's data.
    pub fn custodian_data(&self) -> PathBuf {
        self.folder.join("tiers/donnees")
    }
    /// The analyst's data.
    pub fn analyst_data(&self) -> PathBuf {
        self.folder.join("etude/donnees")
    }
    /// Logs of all processes.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("journaux")
    }
}

fn agreement(secrets: &Secrets, parties: &[PartyId], sizes: &BTreeMap<PartyId, u64>, first: Period) -> anyhow::Result<Agreement> {
    let id: PartyId = "demonstration".parse()?;
    let limits: Vec<(PartyId, u64)> =
        parties.iter().map(|p| (p.clone(), (2 * sizes.get(p).copied().unwrap_or(0)).max(1000))).collect();
    let members = secrets.members(&id, &limits)?;
    // Covers the synthetic months and today, whenever the demonstration is run.
    let term = Term { start: jiff::civil::date(2020, 1, 1), end: jiff::civil::date(2099, 12, 31), first_period: first };
    // Sex travels as well, in whatever code the files have it: rates of linkage by sex and age are the analyst's to watch.
    let sexes = ["1", "2", "M", "F", "Homme", "Femme"].map(str::to_owned);
    let mut attributes = Attribute::french();
    attributes.push(Attribute { name: "sexe".to_owned(), rule: Rule::Code { values: sexes.into() } });
    let mut agreement = Agreement::for_trial(id, members, Identity::french(), attributes, term).context("no party")?;
    agreement.agreement.title = "Convention de démonstration".to_owned();
    agreement.agreement.purpose = "Compter une fois les personnes accompagnées par plusieurs services".to_owned();
    agreement.encoding.expected_records = sizes.values().sum::<u64>().max(1000);
    Ok(agreement)
}

/// Four ports of the loopback interface that nobody listens on now, below those that systems give to outgoing connections:
/// none of these takes one before its role listens. Where to look first differs between processes.
fn free_addresses() -> anyhow::Result<[SocketAddr; 4]> {
    let first = std::process::id() % 120 * 100;
    let ports = (first..first + 12_000).map(|offset| 20_000 + (offset % 12_000) as u16);
    let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let free: Vec<SocketAddr> = addresses.filter(|address| std::net::TcpListener::bind(address).is_ok()).take(4).collect();
    free.try_into().map_err(|_| anyhow::anyhow!("no free port"))
}
