//! `cerebelum.worker.WorkerService`, as the published SDK speaks it (docs/cerebelum.md).

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{
    convert,
    grpc::{self, FrontDoor},
};
use crate::{
    engine::Error,
    proto::cerebelum::{
        Ack, ApproveStepRequest, Blueprint, BlueprintValidation, ExecuteRequest, ExecutionHandle,
        ExecutionStatus, GetExecutionStatusRequest, HeartbeatRequest, HeartbeatResponse,
        ListExecutionsRequest, ListExecutionsResponse, PollRequest, RegisterRequest,
        RegisterResponse, RejectStepRequest, ResumeExecutionRequest, Task, TaskResult,
        UnregisterRequest, worker_service_server::WorkerService,
    },
};

/// How often a worker should send a heartbeat; the SDK sends them every 10 s whatever it is told.
const HEARTBEAT_INTERVAL_MS: i32 = 10_000;

#[tonic::async_trait]
impl WorkerService for FrontDoor {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let now = self.engine().env().now();
        let record = convert::worker_record(namespace, request.into_inner(), now)?;
        self.shielded(|engine| async move { engine.register(record).await }).await?;
        Ok(Response::new(RegisterResponse {
            success: true,
            message: String::new(),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let connection = grpc::connection(&request);
        let (worker, task) = convert::heartbeat(request.into_inner())?;
        let heard = self.shielded(|engine| async move {
            let connection = connection.as_deref();
            convert::heard(engine.heartbeat(&namespace, &worker, task.as_ref(), connection).await)
        });
        Ok(Response::new(heard.await?))
    }

    async fn unregister(
        &self,
        request: Request<UnregisterRequest>,
    ) -> Result<Response<()>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let worker = convert::worker_id(request.into_inner().worker_id)?;
        self.shielded(|engine| async move { engine.unregister(&namespace, &worker).await }).await?;
        Ok(Response::new(()))
    }

    /// Not shielded: a poll may be dropped at any point, and must be when its worker is gone.
    async fn poll_for_task(&self, request: Request<PollRequest>) -> Result<Response<Task>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let connection = grpc::connection(&request);
        let longest = self.may_wait(&request, Duration::MAX);
        let mut poll = convert::poll(namespace, request.into_inner(), connection)?;
        poll.wait = poll.wait.min(longest);
        Ok(Response::new(convert::task(self.engine().poll(poll).await?)))
    }

    async fn submit_result(&self, request: Request<TaskResult>) -> Result<Response<Ack>, Status> {
        let submitted = convert::submitted(request.into_inner())?;
        let acked = self.shielded(|engine| async move {
            let convert::Submitted { token, worker, submission } = submitted;
            convert::ack(engine.submit(&token, &worker, submission).await)
        });
        Ok(Response::new(acked.await?))
    }

    async fn submit_blueprint(
        &self,
        request: Request<Blueprint>,
    ) -> Result<Response<BlueprintValidation>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let blueprint = request.into_inner();
        let language = convert::language(blueprint.language.clone())?;
        let definition = match convert::definition(blueprint) {
            Ok(definition) => definition,
            Err(errors) => return Ok(Response::new(convert::faults(&errors))),
        };
        let validation = self.shielded(|engine| async move {
            match engine.put_blueprint(&namespace, definition, &language, true).await {
                Ok(put) => Ok(convert::validation(put)),
                Err(Error::InvalidBlueprint(faults)) => Ok(convert::faults(&faults.0)),
                Err(error) => Err(error),
            }
        });
        Ok(Response::new(validation.await?))
    }

    async fn execute_workflow(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecutionHandle>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let start = convert::start(namespace, request.into_inner())?;
        let started = self.shielded(|engine| async move { engine.start(start).await }).await?;
        Ok(Response::new(convert::handle(&started)))
    }

    async fn get_execution_status(
        &self,
        request: Request<GetExecutionStatusRequest>,
    ) -> Result<Response<ExecutionStatus>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let execution = convert::execution_id(&request.into_inner().execution_id)?;
        let description = self.engine().describe(&namespace, &execution).await?;
        Ok(Response::new(convert::execution_status(&description)))
    }

    async fn list_executions(
        &self,
        request: Request<ListExecutionsRequest>,
    ) -> Result<Response<ListExecutionsResponse>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let query = convert::query(request.into_inner())?;
        let page = match query.filter {
            Some(filter) => {
                Some(self.engine().list(&namespace, &filter, query.offset, query.limit).await?)
            }
            None => None,
        };
        Ok(Response::new(convert::listing(page)))
    }

    async fn resume_execution(
        &self,
        request: Request<ResumeExecutionRequest>,
    ) -> Result<Response<ExecutionHandle>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let request = request.into_inner();
        let execution = request.execution_id.clone();
        let resume = convert::resume(namespace, &request)?;
        let resumed = self.shielded(|engine| async move {
            convert::resumed(&execution, engine.resume(resume).await)
        });
        Ok(Response::new(resumed.await?))
    }

    async fn approve_step(
        &self,
        request: Request<ApproveStepRequest>,
    ) -> Result<Response<ExecutionHandle>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let request = request.into_inner();
        let execution = convert::execution_id(&request.execution_id)?;
        let step = convert::step(request.step_name)?;
        let by = convert::who(request.approved_by)?;
        let id = self.request_id(convert::request_id(request.request_id)?);
        let answer = (convert::response(request.response)?, request.run_again);
        self.shielded(|engine| async move {
            engine.approve(&namespace, &execution, step, &by, &id, answer).await
        })
        .await?;
        Ok(Response::new(convert::answered(&request.execution_id, "approved")))
    }

    async fn reject_step(
        &self,
        request: Request<RejectStepRequest>,
    ) -> Result<Response<ExecutionHandle>, Status> {
        let namespace = grpc::namespace(request.metadata())?;
        let request = request.into_inner();
        let execution = convert::execution_id(&request.execution_id)?;
        let step = convert::step(request.step_name)?;
        let by = convert::who(request.rejected_by)?;
        let id = self.request_id(convert::request_id(request.request_id)?);
        let reason = convert::words("reason", request.reason)?;
        self.shielded(|engine| async move {
            engine.reject(&namespace, &execution, step, &by, &id, &reason).await
        })
        .await?;
        Ok(Response::new(convert::answered(&request.execution_id, "rejected")))
    }
}
