//! `lazarus.v1`: what people and tools ask of executions and blueprints.

use std::time::Duration;

use futures::stream::{self, Iter};
use tonic::{Request, Response, Status};

use super::{convert, grpc::FrontDoor};
use crate::proto::lazarus::{
    ApproveRequest, ApproveResponse, CancelRequest, CancelResponse, DescribeRequest,
    DescribeResponse, ExecuteRequest, ExecuteResponse, GetBlueprintRequest, GetBlueprintResponse,
    HistoryRequest, HistoryResponse, ListBlueprintsRequest, ListBlueprintsResponse,
    ListDeadRequest, ListDeadResponse, ListRequest, ListResponse, LogRequest, LogResponse,
    PutBlueprintRequest, PutBlueprintResponse, RejectRequest, RejectResponse, ResumeRequest,
    ResumeResponse, RetryDeadRequest, RetryDeadResponse, StartRequest, StartResponse, WaitRequest,
    blueprint_service_server::BlueprintService, execution_service_server::ExecutionService,
};

/// Everything is there before the first message is sent: what is streamed is only the transfer.
type Replies<T> = Iter<std::vec::IntoIter<Result<T, Status>>>;

fn replies<T>(messages: impl IntoIterator<Item = T>) -> Response<Replies<T>> {
    let messages: Vec<Result<T, Status>> = messages.into_iter().map(Ok).collect();
    Response::new(stream::iter(messages))
}

#[tonic::async_trait]
impl ExecutionService for FrontDoor {
    type HistoryStream = Replies<HistoryResponse>;
    type LogStream = Replies<LogResponse>;

    async fn start(
        &self,
        request: Request<StartRequest>,
    ) -> Result<Response<StartResponse>, Status> {
        let start = convert::start_of(request.into_inner())?;
        let started = self.shielded(|engine| async move { engine.start(start).await }).await?;
        Ok(Response::new(convert::started(&started)))
    }

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let DescribeRequest { namespace, execution_id } = request.into_inner();
        let namespace = convert::namespace(&namespace)?;
        let execution = convert::execution_id(&execution_id)?;
        let description = self.engine().describe(&namespace, &execution).await?;
        Ok(Response::new(convert::description(&description)))
    }

    /// Not shielded: it changes nothing, and ends with its client.
    async fn wait(
        &self,
        request: Request<WaitRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let longest = self.may_wait(&request, Duration::MAX);
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let execution = convert::execution_id(&request.execution_id)?;
        let run = convert::run_waited_for(&request)?;
        let wait = convert::how_long(request.timeout_ms).min(longest);
        let description = self.engine().wait(&namespace, &execution, run, wait).await?;
        Ok(Response::new(convert::description(&description)))
    }

    /// The start is shielded, the wait is not. Once it has started, an instance that goes down and a store
    /// that does not answer are no errors: the same request again could be another execution.
    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        let (longest, begun) = (self.may_wait(&request, Duration::MAX), self.engine().env().now());
        let ExecuteRequest { start, timeout_ms } = request.into_inner();
        let start = convert::start_of(start.unwrap_or_default())?;
        let wait = convert::how_long(timeout_ms).min(longest);
        let (namespace, workflow) = (start.namespace.clone(), start.workflow.clone());
        let started = self.shielded(|engine| async move { engine.start(start).await }).await?;
        let left = wait.saturating_sub(self.engine().env().now().since(begun));
        let ending = self.engine().ending(&namespace, &started, left).await;
        Ok(Response::new(match ending {
            Ok(ending) => convert::ending(&ending, &started),
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => {
                tracing::debug!(run = %started.run, %error, "an execution was not waited for");
                convert::begun(&started, workflow)
            }
        }))
    }

    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<Self::HistoryStream>, Status> {
        let HistoryRequest { namespace, execution_id } = request.into_inner();
        let namespace = convert::namespace(&namespace)?;
        let execution = convert::execution_id(&execution_id)?;
        let commits = self.engine().history(&namespace, &execution).await?;
        Ok(replies(commits.iter().flat_map(convert::history)))
    }

    async fn log(&self, request: Request<LogRequest>) -> Result<Response<Self::LogStream>, Status> {
        let LogRequest { namespace, execution_id, run_id } = request.into_inner();
        let commits = if run_id.is_empty() {
            let namespace = convert::namespace(&namespace)?;
            let execution = convert::execution_id(&execution_id)?;
            self.engine().raw_log(&namespace, &execution).await?
        } else {
            self.engine().raw_log_of_run(convert::run_id(&run_id)?).await?
        };
        Ok(replies(commits.into_iter().map(convert::log_entry)))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let (filter, offset, limit) = convert::filter(request)?;
        let page = self.engine().list(&namespace, &filter, offset, limit).await?;
        Ok(Response::new(convert::page(page)))
    }

    async fn approve(
        &self,
        request: Request<ApproveRequest>,
    ) -> Result<Response<ApproveResponse>, Status> {
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let execution = convert::execution_id(&request.execution_id)?;
        let step = convert::step(request.step)?;
        let by = convert::who(request.by)?;
        let id = self.request_id(convert::request_id(request.request_id)?);
        let response = (convert::answer(request.response)?, request.run_again);
        self.shielded(|engine| async move {
            engine.approve(&namespace, &execution, step, &by, &id, response).await
        })
        .await?;
        Ok(Response::new(ApproveResponse {}))
    }

    async fn reject(
        &self,
        request: Request<RejectRequest>,
    ) -> Result<Response<RejectResponse>, Status> {
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let execution = convert::execution_id(&request.execution_id)?;
        let step = convert::step(request.step)?;
        let by = convert::who(request.by)?;
        let id = self.request_id(convert::request_id(request.request_id)?);
        let reason = convert::words("reason", request.reason)?;
        self.shielded(|engine| async move {
            engine.reject(&namespace, &execution, step, &by, &id, &reason).await
        })
        .await?;
        Ok(Response::new(RejectResponse {}))
    }

    async fn resume(
        &self,
        request: Request<ResumeRequest>,
    ) -> Result<Response<ResumeResponse>, Status> {
        let mut request = request.into_inner();
        request.request_id = self.request_id(convert::request_id(request.request_id)?);
        let resume = convert::resume_of(request)?;
        let started = self.shielded(|engine| async move { engine.resume(resume).await }).await?;
        Ok(Response::new(convert::resumed_as(&started)))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let execution = convert::execution_id(&request.execution_id)?;
        let by = convert::who(request.by)?;
        let id = self.request_id(convert::request_id(request.request_id)?);
        let reason = convert::words("reason", request.reason)?;
        self.shielded(|engine| async move {
            engine.cancel(&namespace, &execution, &by, &id, &reason).await
        })
        .await?;
        Ok(Response::new(CancelResponse {}))
    }

    async fn list_dead(
        &self,
        _: Request<ListDeadRequest>,
    ) -> Result<Response<ListDeadResponse>, Status> {
        let runs = self.engine().dead().await?;
        let runs = runs.into_iter().map(convert::dead_run).collect();
        Ok(Response::new(ListDeadResponse { runs }))
    }

    async fn retry_dead(
        &self,
        request: Request<RetryDeadRequest>,
    ) -> Result<Response<RetryDeadResponse>, Status> {
        let handle = convert::words("handle", request.into_inner().handle)?;
        self.shielded(|engine| async move { engine.retry_dead(&handle).await }).await?;
        Ok(Response::new(RetryDeadResponse {}))
    }
}

#[tonic::async_trait]
impl BlueprintService for FrontDoor {
    async fn put(
        &self,
        request: Request<PutBlueprintRequest>,
    ) -> Result<Response<PutBlueprintResponse>, Status> {
        let request = request.into_inner();
        let namespace = convert::namespace(&request.namespace)?;
        let language = convert::language(request.language.clone())?;
        let definition = convert::blueprint_definition(request)?;
        let put = self.shielded(|engine| async move {
            engine.put_blueprint(&namespace, definition, &language, false).await
        });
        Ok(Response::new(convert::blueprint_put(put.await?)))
    }

    async fn get(
        &self,
        request: Request<GetBlueprintRequest>,
    ) -> Result<Response<GetBlueprintResponse>, Status> {
        let GetBlueprintRequest { namespace, name, version } = request.into_inner();
        let namespace = convert::namespace(&namespace)?;
        let name = convert::workflow("name", name)?;
        let stored = self.engine().blueprint(&namespace, &name, convert::version(version)).await?;
        Ok(Response::new(GetBlueprintResponse { blueprint: Some(convert::blueprint(&stored)) }))
    }

    async fn list(
        &self,
        request: Request<ListBlueprintsRequest>,
    ) -> Result<Response<ListBlueprintsResponse>, Status> {
        let namespace = convert::namespace(&request.into_inner().namespace)?;
        let stored = self.engine().blueprints(&namespace).await?;
        let blueprints = stored.iter().map(convert::blueprint).collect();
        Ok(Response::new(ListBlueprintsResponse { blueprints }))
    }
}
