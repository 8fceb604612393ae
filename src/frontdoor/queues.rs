//! `lazarus.v1.QueueService`: what operators ask of push queues.

use tonic::{Request, Response, Status};

use super::{convert, grpc::FrontDoor};
use crate::proto::lazarus::{
    DeleteQueueRequest, DeleteQueueResponse, GetQueueRequest, GetQueueResponse, ListQueuesRequest,
    ListQueuesResponse, SetQueueRequest, SetQueueResponse, queue_service_server::QueueService,
};

#[tonic::async_trait]
impl QueueService for FrontDoor {
    async fn set(
        &self,
        request: Request<SetQueueRequest>,
    ) -> Result<Response<SetQueueResponse>, Status> {
        let SetQueueRequest { namespace, queue } = request.into_inner();
        let queue = convert::push_queue(convert::namespace(&namespace)?, queue)?;
        let warnings = self.shielded(|engine| async move { engine.set_queue(&queue).await });
        Ok(Response::new(SetQueueResponse { warnings: warnings.await? }))
    }

    async fn get(
        &self,
        request: Request<GetQueueRequest>,
    ) -> Result<Response<GetQueueResponse>, Status> {
        let GetQueueRequest { namespace, name } = request.into_inner();
        let namespace = convert::namespace(&namespace)?;
        let view = self.engine().queue(&namespace, &name).await?;
        Ok(Response::new(GetQueueResponse { queue: Some(convert::queue_state(view)) }))
    }

    async fn list(
        &self,
        request: Request<ListQueuesRequest>,
    ) -> Result<Response<ListQueuesResponse>, Status> {
        let namespace = convert::namespace(&request.into_inner().namespace)?;
        let views = self.engine().queues(&namespace).await?;
        let queues = views.into_iter().map(convert::queue_state).collect();
        Ok(Response::new(ListQueuesResponse { queues }))
    }

    async fn delete(
        &self,
        request: Request<DeleteQueueRequest>,
    ) -> Result<Response<DeleteQueueResponse>, Status> {
        let DeleteQueueRequest { namespace, name } = request.into_inner();
        let namespace = convert::namespace(&namespace)?;
        self.shielded(|engine| async move { engine.delete_queue(&namespace, &name).await }).await?;
        Ok(Response::new(DeleteQueueResponse {}))
    }
}
