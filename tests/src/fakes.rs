//! Peers that do not keep to the protocol: a broker that alters what it relays or loses what it was sent, a custodian that
//! evaluates under another key or hands over altered link tables. They hold the true roles' certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use linkage_common::tls::{ServerTls, TlsFiles, serve};
use linkage_crypto::oprf::ServerKey;
use linkage_proto::v1::{self, keys_server, oprf_server, registry_server, rights_server, runs_server};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

/// A false role that serves until it is dropped.
pub struct Fake(JoinHandle<()>);

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Fake {
    /// Serves `routes` on a role's address under its certificate.
    pub async fn serve(address: SocketAddr, files: &TlsFiles, routes: RoutesBuilder) -> Self {
        let tls = ServerTls::load(files, None).unwrap();
        let listener = crate::fixture::until("the port", || async { tokio::net::TcpListener::bind(address).await.ok() }).await;
        Self(tokio::spawn(async move {
            serve(listener, tls, routes.routes(), std::future::pending::<()>()).await.unwrap();
        }))
    }
}

/// What a false broker was told, and how it misbehaves.
#[derive(Debug, Default)]
pub struct BrokerState {
    /// Batches received, by sequence.
    pub batches: BTreeMap<u32, v1::Batch>,
    /// Sequences of all batches received, in order.
    pub received: Vec<u32>,
    /// The manifest received.
    pub manifest: Option<v1::CommitUploadRequest>,
    /// After how many batches of a call the connection is lost.
    pub lose_after: Option<usize>,
    /// Contributions received.
    pub envelopes: Vec<v1::ContributionEnvelope>,
    /// Which byte of every envelope is altered on its way.
    pub alter: Option<usize>,
    /// What it lists as runs; without any it does not know the call.
    pub runs: Vec<v1::RunStatus>,
    /// Runs whose uploads it refuses, whatever is sent, with this code.
    pub refused: BTreeMap<String, i32>,
}

/// A false broker.
#[derive(Clone, Default)]
pub struct FakeBroker(pub Arc<Mutex<BrokerState>>);

impl FakeBroker {
    /// Its services.
    pub fn routes(&self) -> RoutesBuilder {
        let mut routes = tonic::service::Routes::builder();
        routes.add_service(runs_server::RunsServer::new(self.clone()).max_decoding_message_size(4 << 20));
        routes.add_service(keys_server::KeysServer::new(self.clone()));
        routes
    }
    /// Its state.
    pub fn state(&self) -> std::sync::MutexGuard<'_, BrokerState> {
        self.0.lock().unwrap()
    }
    fn upload(&self) -> v1::UploadStatus {
        let state = self.state();
        v1::UploadStatus { held: state.batches.keys().copied().collect(), records: 0, committed: state.manifest.is_some() }
    }
}

#[tonic::async_trait]
impl runs_server::Runs for FakeBroker {
    async fn open_run(&self, _: Request<v1::OpenRunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn cancel_run(&self, _: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_run(&self, _: Request<v1::RunRequest>) -> Result<Response<v1::RunStatus>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_runs(&self, _: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        let runs = self.state().runs.clone();
        if runs.is_empty() { Err(Status::unimplemented("fake")) } else { Ok(Response::new(v1::ListRunsResponse { runs })) }
    }
    async fn get_upload(&self, request: Request<v1::RunRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let refused = self.state().refused.get(&request.into_inner().run_id).copied();
        match refused {
            Some(code) => Err(Status::new(tonic::Code::from_i32(code), "fake: refused")),
            None => Ok(Response::new(self.upload())),
        }
    }
    async fn put_batches(&self, request: Request<Streaming<v1::Batch>>) -> Result<Response<v1::UploadStatus>, Status> {
        let mut stream = request.into_inner();
        let mut taken = 0;
        while let Some(batch) = stream.message().await? {
            if self.state().lose_after.is_some_and(|most| taken >= most) {
                return Err(Status::unavailable("fake: connection lost"));
            }
            taken += 1;
            let mut state = self.state();
            state.received.push(batch.sequence);
            state.batches.insert(batch.sequence, batch);
        }
        Ok(Response::new(self.upload()))
    }
    async fn commit_upload(&self, request: Request<v1::CommitUploadRequest>) -> Result<Response<v1::UploadStatus>, Status> {
        let manifest = request.into_inner();
        let mut state = self.state();
        if let Some(run) = state.runs.iter_mut().find(|run| run.run_id == manifest.run_id) {
            run.committed = run.parties.clone();
        }
        state.manifest = Some(manifest);
        drop(state);
        Ok(Response::new(self.upload()))
    }
}

#[tonic::async_trait]
impl keys_server::Keys for FakeBroker {
    async fn put_contribution(
        &self,
        request: Request<v1::PutContributionRequest>,
    ) -> Result<Response<v1::PutContributionResponse>, Status> {
        self.state().envelopes.extend(request.into_inner().envelopes);
        Ok(Response::new(v1::PutContributionResponse {}))
    }
    /// Everyone is given everything: which of it is its own, the caller must see by itself.
    async fn get_contributions(
        &self,
        _: Request<v1::GetContributionsRequest>,
    ) -> Result<Response<v1::GetContributionsResponse>, Status> {
        let state = self.state();
        let contributed = state.envelopes.iter().map(|e| e.from.clone()).collect();
        let mut envelopes = state.envelopes.clone();
        for envelope in &mut envelopes {
            let mut bytes = envelope.envelope.to_vec();
            if let Some(at) = state.alter {
                bytes[at] ^= 1;
            }
            envelope.envelope = bytes.into();
        }
        Ok(Response::new(v1::GetContributionsResponse { envelopes, contributed }))
    }
}

/// A custodian that evaluates under `key`, whatever the agreement names, and hands over `table` as every table.
#[derive(Clone)]
pub struct FakeCustodian {
    /// Another OPRF key.
    pub key: Arc<ServerKey>,
    /// The link tables announced.
    pub tables: Vec<v1::LinkTableInfo>,
    /// The chunks of each of them.
    pub chunks: Vec<v1::LinkTableChunk>,
}

impl FakeCustodian {
    /// Its services.
    pub fn routes(&self) -> RoutesBuilder {
        let mut routes = tonic::service::Routes::builder();
        routes.add_service(oprf_server::OprfServer::new(self.clone()));
        routes.add_service(registry_server::RegistryServer::new(self.clone()));
        routes.add_service(rights_server::RightsServer::new(self.clone()));
        routes
    }
}

#[tonic::async_trait]
impl oprf_server::Oprf for FakeCustodian {
    async fn declare(&self, _: Request<v1::DeclareRequest>) -> Result<Response<v1::DeclareResponse>, Status> {
        Ok(Response::new(v1::DeclareResponse { budget: u64::MAX, used: 0 }))
    }
    async fn evaluate(&self, request: Request<v1::EvaluateRequest>) -> Result<Response<v1::EvaluateResponse>, Status> {
        let made = self.key.evaluate(&request.into_inner().blinded, &mut linkage_common::rng()).unwrap();
        Ok(Response::new(v1::EvaluateResponse { evaluated: made.elements.into(), proof: made.proof.to_vec().into() }))
    }
}

#[tonic::async_trait]
impl registry_server::Registry for FakeCustodian {
    async fn put_records(&self, _: Request<Streaming<v1::RecordBatch>>) -> Result<Response<v1::RecordsStatus>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn commit_records(&self, _: Request<v1::CommitRecordsRequest>) -> Result<Response<v1::RecordsStatus>, Status> {
        Ok(Response::new(v1::RecordsStatus { committed: true, ..Default::default() }))
    }
    async fn put_clusters(&self, _: Request<Streaming<v1::ClusterBatch>>) -> Result<Response<v1::PutClustersResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn close_run(&self, _: Request<v1::CloseRunRequest>) -> Result<Response<v1::CloseRunResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn list_link_tables(
        &self,
        _: Request<v1::ListLinkTablesRequest>,
    ) -> Result<Response<v1::ListLinkTablesResponse>, Status> {
        Ok(Response::new(v1::ListLinkTablesResponse { tables: self.tables.clone() }))
    }
    type GetLinkTableStream = ReceiverStream<Result<v1::LinkTableChunk, Status>>;
    async fn get_link_table(&self, _: Request<v1::LinkTableRequest>) -> Result<Response<Self::GetLinkTableStream>, Status> {
        let (send, receive) = tokio::sync::mpsc::channel(self.chunks.len().max(1));
        for chunk in &self.chunks {
            send.send(Ok(chunk.clone())).await.map_err(|_| Status::cancelled("fake"))?;
        }
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

// Nobody has asked for anything.
#[tonic::async_trait]
impl rights_server::Rights for FakeCustodian {
    async fn withdraw(&self, _: Request<v1::WithdrawRequest>) -> Result<Response<v1::SignedReceipt>, Status> {
        Err(Status::unimplemented("fake"))
    }
    async fn get_receipts(&self, _: Request<v1::ReceiptsRequest>) -> Result<Response<v1::ReceiptsResponse>, Status> {
        Ok(Response::new(v1::ReceiptsResponse::default()))
    }
    async fn describe(&self, _: Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeResponse>, Status> {
        Ok(Response::new(v1::DescribeResponse::default()))
    }
    async fn list_withdrawals(
        &self,
        _: Request<v1::ListWithdrawalsRequest>,
    ) -> Result<Response<v1::ListWithdrawalsResponse>, Status> {
        Ok(Response::new(v1::ListWithdrawalsResponse::default()))
    }
    async fn put_receipt(&self, _: Request<v1::PutReceiptRequest>) -> Result<Response<v1::PutReceiptResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}
