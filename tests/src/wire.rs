//! What roles say to each other, made by hand: uploads, record references, clusters, with or without faults.

use bytes::Bytes;
use linkage_agreement::{Handle, RecordRef, RoleId};
use linkage_common::attributes::{PLACE, pad};
use linkage_common::tls::Channel;
use linkage_crypto::seal::{SealingPublicKey, attributes_info};
use linkage_crypto::storage::StorageKey;
use linkage_linking::LevelFrequencies;
use linkage_proto::v1::{
    self, dispositions_client::DispositionsClient, keys_client::KeysClient, oprf_client::OprfClient,
    registry_client::RegistryClient, runs_client::RunsClient,
};
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::fixture::{PERIOD, World, party};

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Bytes {
    Sha256::digest(bytes).to_vec().into()
}

/// SHA-256 over the digests of `batches`, as manifests state it.
pub fn manifest(batches: &[Vec<u8>]) -> Bytes {
    sha256(&batches.iter().flat_map(|b| sha256(b)).collect::<Vec<u8>>())
}

/// The handle number `n`.
pub fn handle(n: u64) -> Handle {
    let mut bytes = [0xa5; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    Handle(bytes)
}

/// The record reference number `n`.
pub fn reference(n: u64) -> RecordRef {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    RecordRef(bytes)
}

/// One of the broker's records: handle `n`, every token and payload from `person`.
pub fn record(world: &World, n: u64, person: u64) -> Vec<u8> {
    let layout = world.agreement.layout();
    let mut bytes = handle(n).0.to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    for entry in 0..layout.tokens_per_record {
        let seed = Sha256::digest([person.to_le_bytes(), (entry as u64).to_le_bytes()].concat());
        bytes.extend_from_slice(&seed[..16]);
        bytes.extend(seed.iter().cycle().take(layout.payload_len));
    }
    bytes
}

/// Batches of `records` records each; handles and persons count from `first` on.
pub fn batches(world: &World, first: u64, sizes: &[u64]) -> Vec<Vec<u8>> {
    let mut next = first;
    sizes
        .iter()
        .map(|&size| {
            let from = next;
            next += size;
            (from..next).flat_map(|n| record(world, n, n % 1000)).collect()
        })
        .collect()
}

/// An empty table of level frequencies that fits the agreement.
pub fn levels(world: &World) -> Bytes {
    serde_json::to_vec(&LevelFrequencies::new(&world.agreement.layout())).unwrap().into()
}

/// The broker's services as one caller sees them.
#[derive(Clone)]
pub struct AtBroker<'w> {
    world: &'w World,
    /// Runs.
    pub runs: RunsClient<Channel>,
    /// The key ceremony.
    pub keys: KeysClient<Channel>,
}

impl<'w> AtBroker<'w> {
    /// Connects as `role`.
    pub async fn of(world: &'w World, role: &RoleId) -> Self {
        let channel = world.connect(&RoleId::Broker, role).await;
        let limit = 8 << 20;
        Self { world, runs: RunsClient::new(channel.clone()).max_encoding_message_size(limit), keys: KeysClient::new(channel) }
    }

    /// Connects as the partner `name`.
    pub async fn party(world: &'w World, name: &str) -> Self {
        Self::of(world, &party(name)).await
    }

    /// A request to open `run` for `parties`.
    pub fn opening(&self, run: &str, parties: &[&str]) -> v1::OpenRunRequest {
        self.world.opening(run, PERIOD, parties)
    }

    /// Opens a run.
    pub async fn open(&mut self, run: &str, parties: &[&str]) -> v1::RunStatus {
        let request = self.opening(run, parties);
        self.runs.open_run(request).await.unwrap().into_inner()
    }

    fn naming(&self, run: &str) -> v1::RunRequest {
        v1::RunRequest { agreement: self.world.reference(), run_id: run.to_owned() }
    }

    /// State of a run.
    pub async fn run(&mut self, run: &str) -> v1::RunStatus {
        let request = self.naming(run);
        self.runs.get_run(request).await.unwrap().into_inner()
    }

    /// Cancels a run.
    pub async fn cancel(&mut self, run: &str) -> Result<v1::RunStatus, Status> {
        let request = self.naming(run);
        self.runs.cancel_run(request).await.map(tonic::Response::into_inner)
    }

    /// What the broker holds of the caller's upload.
    pub async fn held(&mut self, run: &str) -> v1::UploadStatus {
        let request = self.naming(run);
        self.runs.get_upload(request).await.unwrap().into_inner()
    }

    /// A batch message.
    pub fn batch(&self, run: &str, sequence: u32, records: &[u8]) -> v1::Batch {
        v1::Batch {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            sequence,
            records: records.to_vec().into(),
            digest: sha256(records),
        }
    }

    /// Sends batch messages.
    pub async fn put(&mut self, batches: Vec<v1::Batch>) -> Result<v1::UploadStatus, Status> {
        self.runs.put_batches(tokio_stream::iter(batches)).await.map(tonic::Response::into_inner)
    }

    /// The manifest of `batches`.
    pub fn manifest(&self, run: &str, batches: &[Vec<u8>]) -> v1::CommitUploadRequest {
        let bytes: usize = batches.iter().map(Vec::len).sum();
        v1::CommitUploadRequest {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            batches: batches.len() as u32,
            records: (bytes / self.world.agreement.layout().record_len()) as u64,
            digest: manifest(batches),
            level_frequencies: levels(self.world),
            removed: Bytes::new(),
            past_epoch: Some(0),
        }
    }

    /// Commits.
    pub async fn commit(&mut self, request: v1::CommitUploadRequest) -> Result<v1::UploadStatus, Status> {
        self.runs.commit_upload(request).await.map(tonic::Response::into_inner)
    }

    /// Sends and commits `batches`.
    pub async fn upload(&mut self, run: &str, batches: &[Vec<u8>]) {
        let messages = batches.iter().zip(0..).map(|(b, n)| self.batch(run, n, b)).collect();
        self.put(messages).await.unwrap();
        let request = self.manifest(run, batches);
        assert!(self.commit(request).await.unwrap().committed);
    }
}

/// The attribute keys of one party's upload, one for each analyst in the agreement's order.
pub struct AttributeKeys(Vec<StorageKey>);

impl AttributeKeys {
    /// Draws keys.
    pub fn draw(world: &World) -> Self {
        Self(world.agreement.analyst.iter().map(|_| StorageKey::generate(&mut linkage_common::rng())).collect())
    }

    /// The keys sealed to the analysts.
    pub fn sealed(&self, world: &World, run: &str, party: &str) -> std::collections::HashMap<String, Bytes> {
        let info = attributes_info(world.hash.as_bytes(), run, party);
        let seal = |(analyst, key): (&linkage_agreement::model::Analyst, &StorageKey)| {
            let to = SealingPublicKey::from_base64(&analyst.sealing_key).unwrap();
            let bytes = linkage_crypto::keyfile::decode(&key.to_key_file()).unwrap();
            (analyst.id.to_string(), to.seal(&info, &[], bytes.as_slice(), &mut linkage_common::rng()).unwrap().into())
        };
        world.agreement.analyst.iter().zip(&self.0).map(seal).collect()
    }

    /// An entry of a record that is present, with `values` after its household.
    pub fn entry(&self, handle: Handle, reference: RecordRef, values: &[&str]) -> Vec<u8> {
        let all: Vec<Option<&str>> = std::iter::once(None).chain(values.iter().map(|v| Some(*v))).collect();
        let mut plain = serde_json::to_vec(&all).unwrap();
        pad(&mut plain, 64);
        let mut entry = entry(handle, reference, 1);
        for key in &self.0 {
            let sealed = key.seal(PLACE, &plain, &mut linkage_common::rng()).unwrap();
            entry.extend_from_slice(&(sealed.len() as u16).to_le_bytes());
            entry.extend_from_slice(&sealed);
        }
        entry
    }
}

/// The fixed part of an entry.
pub fn entry(handle: Handle, reference: RecordRef, present: u8) -> Vec<u8> {
    [&handle.0[..], &reference.0, &[present]].concat()
}

/// A packed cluster of certain members.
pub fn cluster(members: &[Handle]) -> Vec<u8> {
    let mut packed = (members.len() as u16).to_le_bytes().to_vec();
    for member in members {
        packed.extend_from_slice(&member.0);
        packed.push(1);
        packed.extend_from_slice(&9_900_u16.to_le_bytes());
    }
    packed
}

/// The custodian's services as one caller sees them.
#[derive(Clone)]
pub struct AtCustodian<'w> {
    world: &'w World,
    /// Oblivious evaluations.
    pub oprf: OprfClient<Channel>,
    /// The registry.
    pub registry: RegistryClient<Channel>,
    /// Settled pairs.
    pub dispositions: DispositionsClient<Channel>,
}

impl<'w> AtCustodian<'w> {
    /// Connects as `role`.
    pub async fn of(world: &'w World, role: &RoleId) -> Self {
        let channel = world.connect(&RoleId::Custodian, role).await;
        let dispositions = DispositionsClient::new(channel.clone());
        Self { world, oprf: OprfClient::new(channel.clone()), registry: RegistryClient::new(channel), dispositions }
    }

    /// Connects as the partner `name`.
    pub async fn party(world: &'w World, name: &str) -> Self {
        Self::of(world, &party(name)).await
    }

    /// Declares records for the month.
    pub async fn declare(&mut self, records: u64) -> Result<v1::DeclareResponse, Status> {
        let request = v1::DeclareRequest { agreement: self.world.reference(), period: PERIOD.to_owned(), records };
        self.oprf.declare(request).await.map(tonic::Response::into_inner)
    }

    /// Asks for the evaluation of packed elements.
    pub async fn evaluate(&mut self, blinded: &[u8]) -> Result<v1::EvaluateResponse, Status> {
        let request = v1::EvaluateRequest {
            agreement: self.world.reference(),
            period: PERIOD.to_owned(),
            blinded: blinded.to_vec().into(),
        };
        self.oprf.evaluate(request).await.map(tonic::Response::into_inner)
    }

    /// A batch of records.
    pub fn batch(&self, run: &str, sequence: u32, entries: &[u8]) -> v1::RecordBatch {
        v1::RecordBatch {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            sequence,
            entries: entries.to_vec().into(),
            digest: sha256(entries),
        }
    }

    /// Sends batches of records.
    pub async fn put(&mut self, batches: Vec<v1::RecordBatch>) -> Result<v1::RecordsStatus, Status> {
        self.registry.put_records(tokio_stream::iter(batches)).await.map(tonic::Response::into_inner)
    }

    /// The manifest of one batch of `records` records.
    pub fn manifest(
        &self,
        run: &str,
        party: &str,
        keys: &AttributeKeys,
        entries: &[u8],
        records: u64,
    ) -> v1::CommitRecordsRequest {
        v1::CommitRecordsRequest {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            period: PERIOD.to_owned(),
            batches: 1,
            records,
            digest: manifest(&[entries.to_vec()]),
            sealed_keys: keys.sealed(self.world, run, party),
            reference_party: String::new(),
        }
    }

    /// Commits.
    pub async fn commit(&mut self, request: v1::CommitRecordsRequest) -> Result<v1::RecordsStatus, Status> {
        self.registry.commit_records(request).await.map(tonic::Response::into_inner)
    }

    /// Sends and commits records that are present: handle number and reference number of each.
    pub async fn upload(&mut self, run: &str, party: &str, records: &[(u64, u64)]) {
        let keys = AttributeKeys::draw(self.world);
        let entries: Vec<u8> =
            records.iter().flat_map(|&(h, r)| keys.entry(handle(h), reference(r), &["personne seule", "0"])).collect();
        let batch = self.batch(run, 0, &entries);
        self.put(vec![batch]).await.unwrap();
        let request = self.manifest(run, party, &keys, &entries, records.len() as u64);
        assert!(self.commit(request).await.unwrap().committed);
    }

    /// A batch of clusters, the only one.
    pub fn clusters(&self, run: &str, parties: &[&str], clusters: &[u8]) -> v1::ClusterBatch {
        v1::ClusterBatch {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            period: PERIOD.to_owned(),
            parties: parties.iter().map(|p| (*p).to_owned()).collect(),
            sequence: 0,
            last: true,
            clusters: clusters.to_vec().into(),
            report: Bytes::from_static(b"{}"),
            reference_party: String::new(),
        }
    }

    /// Sends batches of clusters.
    pub async fn put_clusters(&mut self, batches: Vec<v1::ClusterBatch>) -> Result<(), Status> {
        self.registry.put_clusters(tokio_stream::iter(batches)).await.map(drop)
    }

    /// A half of this party's on its record number `record`, good until the end of 2098.
    pub fn half(&self, dossier: u8, partner: &str, record: u64, verdict: v1::DispositionVerdict) -> v1::Disposition {
        v1::Disposition {
            dossier: vec![dossier; 32].into(),
            partner: partner.to_owned(),
            references: vec![reference(record).0.to_vec().into()],
            verdict: verdict.into(),
            expiry: "2098-12-31".to_owned(),
        }
    }

    /// Sends halves; what each has come to.
    pub async fn settle(&mut self, dispositions: Vec<v1::Disposition>) -> Result<Vec<v1::DispositionState>, Status> {
        let request = v1::PutDispositionsRequest { agreement: self.world.reference(), dispositions };
        let answer = self.dispositions.put_dispositions(request).await?.into_inner();
        Ok(answer.states().collect())
    }

    /// The settled pairs of a run of `parties`: handles and verdict, packed.
    pub async fn settled(&mut self, run: &str, parties: &[&str]) -> Result<Vec<u8>, Status> {
        let request = v1::SettledPairsRequest {
            agreement: self.world.reference(),
            run_id: run.to_owned(),
            period: PERIOD.to_owned(),
            parties: parties.iter().map(|p| (*p).to_owned()).collect(),
        };
        let mut stream = self.dispositions.get_settled_pairs(request).await?.into_inner();
        let mut pairs = Vec::new();
        while let Some(chunk) = stream.message().await? {
            pairs.extend_from_slice(&chunk.pairs);
        }
        Ok(pairs)
    }

    /// Link tables that are ready, by run.
    pub async fn tables(&mut self) -> Vec<v1::LinkTableInfo> {
        let request = v1::ListLinkTablesRequest { agreement: self.world.reference() };
        self.registry.list_link_tables(request).await.unwrap().into_inner().tables
    }

    /// A link table's rows, and its first chunk.
    pub async fn table(&mut self, run: &str) -> Result<(v1::LinkTableChunk, Vec<v1::LinkRow>), Status> {
        let request = v1::LinkTableRequest { agreement: self.world.reference(), run_id: run.to_owned() };
        let mut stream = self.registry.get_link_table(request).await?.into_inner();
        let (mut first, mut rows) = (None, Vec::new());
        while let Some(chunk) = stream.message().await? {
            rows.extend(chunk.rows.iter().cloned());
            first.get_or_insert(chunk);
        }
        Ok((first.unwrap_or_default(), rows))
    }
}
