//! Clients that go on with an execution that failed, was cancelled or ran out of time: with its results
//! or from the start, sent twice, and beside somebody who starts the same id anew.

use std::sync::{Arc, atomic::Ordering};

use lazarus::{
    engine::{Engine, ResumeRequest, StartRequest, Started},
    workflow::{ExecutionId, Namespace},
};

use super::clients::{Clients, PATIENCE};

/// How often a client goes on with one execution, at most.
const RESUMES_MAX: u64 = 2;

impl Clients {
    /// Goes on with the execution of `request` while it did not complete, and sees each run to its end.
    pub(super) async fn go_on(self: &Arc<Self>, request: &StartRequest, execution: &ExecutionId) {
        for time in 0..RESUMES_MAX {
            let has_failed = self.cluster.world.audit.has_failed(execution.as_str());
            if !has_failed || !self.chance.happens(700) {
                return;
            }
            if self.chance.happens(600) {
                self.workload.mend();
            }
            let intent = format!("resume-{}-{time}", request.request);
            let is_beside = request.execution.is_some()
                && self.is_troubled.load(Ordering::Relaxed)
                && self.chance.happens(450);
            if is_beside && self.cluster.world.trace.befalls("start beside a resumption") {
                self.start_beside(request, time);
            }
            let resumed = self.resume(execution, &intent).await;
            let Some(resumed) = resumed else { return };
            self.see_to_the_end(&resumed, &intent).await;
        }
    }

    /// Somebody else starts the same id at the same time.
    fn start_beside(self: &Arc<Self>, request: &StartRequest, time: u64) {
        let request = StartRequest {
            request: format!("{}-beside-{time}", request.request),
            ..request.clone()
        };
        let clients = Arc::clone(self);
        self.open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let started = clients.begin(&request).await;
            clients.see_to_the_end(&started, &request.request).await;
            clients.open.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Sends a resumption until it is answered; none: there is nothing to resume.
    async fn resume(self: &Arc<Self>, execution: &ExecutionId, intent: &str) -> Option<Started> {
        let request = ResumeRequest {
            namespace: Namespace::default(),
            execution: execution.clone(),
            keeps_results: self.chance.happens(700),
            by: "ann".to_owned(),
            request: intent.to_owned(),
        };
        if self.is_repeated("resumption sent twice at once") {
            let (clients, request) = (Arc::clone(self), request.clone());
            tokio::spawn(async move { clients.send_resumption(&request).await });
        }
        loop {
            match self.send_resumption(&request).await {
                Some(answer) => return answer,
                None => self.pause().await,
            }
        }
    }

    /// Sends a resumption once; none: no answer came.
    async fn send_resumption(self: &Arc<Self>, request: &ResumeRequest) -> Option<Option<Started>> {
        let intent = request.request.clone();
        let asked = request.clone();
        let world = &self.cluster.world;
        let resume = |engine: Engine| async move { engine.resume(asked).await };
        let (place, asked_ms) = (self.cluster.any_new()?, world.now_ms());
        let answer = self.cluster.ask_shielded(place, PATIENCE, resume).await;
        world.trace.note(|| format!("{intent}: {answer:?}"));
        match answer {
            Ok(started) => {
                world.trace.count("resumption answered");
                world.audit.started(&intent, &started, asked_ms);
                Some(Some(started))
            }
            Err(error) if error.is_final() => {
                world.audit.nothing_to_resume(request.execution.as_str(), &format!("{error:?}"));
                Some(None)
            }
            Err(_) => None,
        }
    }
}
