//! The same calls without gRPC: Connect, gRPC-Web and REST on the port that serves gRPC.

use std::time::Duration;

use lazarus::proto::lazarus as v1;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::{Instance, lone_instance};

/// A client that speaks HTTP/1.1, as `curl` and most libraries do.
struct Http {
    client: reqwest::Client,
    at: String,
}

impl Http {
    fn of(instance: &Instance) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().http1_only().no_proxy().build();
        Self { client: client.expect("a client"), at: format!("http://{}", instance.address) }
    }

    async fn send(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (u16, String, Vec<u8>) {
        let verb = reqwest::Method::from_bytes(verb.as_bytes()).expect("a verb");
        let mut request = self.client.request(verb, format!("{}{path}", self.at)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        let kind = answer.headers().get("content-type").and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let status = answer.status().as_u16();
        (status, kind, answer.bytes().await.expect("a body").to_vec())
    }

    /// As JSON with JSON; what came, and under which status.
    async fn json(&self, verb: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, kind, answer) =
            self.send(verb, path, &[("content-type", "application/json")], body).await;
        assert_eq!(kind, "application/json", "{}", String::from_utf8_lossy(&answer));
        (status, serde_json::from_slice(&answer).expect("JSON"))
    }

    /// A call that must succeed.
    async fn call(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.json("POST", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

const WORKER: &str = "/cerebelum.worker.WorkerService";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_runs_from_start_to_end_in_json() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let steps = json!({"steps": [{"name": "charge"}, {"name": "ship", "dependsOn": ["charge"]}]});
    let (status, put) = http.json("PUT", "/v1/blueprints/orders", steps).await;
    assert_eq!((status, &put["version"]), (200, &json!(1)), "{put}");

    let start =
        json!({"workflow": "orders", "executionId": "order-7", "input": {"order": 7, "part": 0.5}});
    let (status, started) = http.json("POST", "/v1/executions", start).await;
    assert_eq!((status, &started["executionId"]), (200, &json!("order-7")), "{started}");

    for step in ["charge", "ship"] {
        let poll = json!({"workerId": "w1", "timeoutMs": 5000});
        let task = http.call(&format!("{WORKER}/PollForTask"), poll).await;
        assert_eq!(task["stepName"], step, "{task}");
        if step == "charge" {
            assert_eq!(task["stepInputs"]["inputs"], json!({"order": 7, "part": 0.5}), "{task}");
        }
        let result = json!({"taskId": task["taskId"], "workerId": "w1", "status": "SUCCESS",
                            "result": {"of": step}});
        let ack = http.call(&format!("{WORKER}/SubmitResult"), result).await;
        assert_eq!(ack["success"], true, "{ack}");
    }

    let (_, described) = http.json("GET", "/v1/executions/order-7", Value::Null).await;
    assert_eq!(described["execution"]["status"], "STATUS_COMPLETED", "{described}");
    assert_eq!(described["input"], json!({"order": 7, "part": 0.5}), "{described}");
    let (_, history) = http.json("GET", "/v1/executions/order-7/history", Value::Null).await;
    let events = history["events"].as_array().expect("events");
    let kinds: Vec<&str> = events.iter().filter_map(|it| it["event"]["k"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"execution_started"), "{history}");
    assert_eq!(kinds.last(), Some(&"execution_completed"), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_reaches_its_call() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let steps = json!({"steps": [{"name": "ask"}]});
    http.json("PUT", "/v1/blueprints/asks?namespace=team-a", steps).await;
    let (_, listed) = http.json("GET", "/v1/blueprints?namespace=team-a", Value::Null).await;
    assert_eq!(listed["blueprints"][0]["name"], "asks", "{listed}");
    let (_, got) =
        http.json("GET", "/v1/blueprints/asks?namespace=team-a&version=1", Value::Null).await;
    assert_eq!(got["blueprint"]["steps"][0]["name"], "ask", "{got}");

    let start = async |id: &str| {
        let body = json!({"workflow": "asks", "namespace": "team-a", "executionId": id});
        let (status, answer) = http.json("POST", "/v1/executions", body).await;
        assert_eq!(status, 200, "{answer}");
        // The namespace of the worker protocol stands in a header.
        let headers = [("content-type", "application/json"), ("lazarus-namespace", "team-a")];
        let poll = json!({"workerId": "w1", "timeoutMs": 5000}).to_string();
        let (_, _, task) =
            http.send("POST", &format!("{WORKER}/PollForTask"), &headers, poll).await;
        let task: Value = serde_json::from_slice(&task).expect("JSON");
        let asks = json!({"taskId": task["taskId"], "workerId": "w1", "status": "APPROVAL",
                          "approvalRequest": {"approvalType": "manual"}});
        let ack = http.call(&format!("{WORKER}/SubmitResult"), asks).await;
        assert_eq!(ack["success"], true, "{ack}");
    };
    let status_of = async |id: &str| {
        let path = format!("/v1/executions/{id}?namespace=team-a");
        http.json("GET", &path, Value::Null).await.1["execution"]["status"].clone()
    };
    start("a/1 ü").await;
    let path = "/v1/executions/a%2F1%20%C3%BC";
    let waits = http.json("GET", &format!("{path}?namespace=team-a"), Value::Null).await.1;
    assert_eq!(waits["execution"]["status"], "STATUS_WAITING_FOR_APPROVAL", "{waits}");
    let answer = json!({"namespace": "team-a", "response": {"by": "ana"}, "by": "ana"});
    let (status, answer) = http.json("POST", &format!("{path}/approve"), answer).await;
    assert_eq!((status, answer), (200, json!({})));
    assert_eq!(status_of("a%2F1%20%C3%BC").await, "STATUS_COMPLETED");

    start("b").await;
    let no = json!({"namespace": "team-a", "reason": "no"});
    assert_eq!(http.json("POST", "/v1/executions/b/reject", no).await.0, 200);
    assert_eq!(status_of("b").await, "STATUS_FAILED");
    let again = json!({"namespace": "team-a"});
    assert_eq!(http.json("POST", "/v1/executions/b/resume", again).await.0, 200);
    assert_eq!(status_of("b").await, "STATUS_RUNNING");
    // What has no body, as `curl -X POST` sends it.
    let path = "/v1/executions/b/cancel?namespace=team-a&reason=enough";
    assert_eq!(http.json("POST", path, Value::Null).await.0, 200);
    assert_eq!(status_of("b").await, "STATUS_CANCELLED");

    instance.settle().await;
    let path = "/v1/executions?namespace=team-a&workflow=asks&status=STATUS_CANCELLED&limit=5";
    let (_, listed) = http.json("GET", path, Value::Null).await;
    let ids = listed["executions"].as_array().expect("executions");
    assert_eq!(ids.iter().map(|it| &it["executionId"]).collect::<Vec<_>>(), ["b"], "{listed}");
    assert_eq!(http.json("GET", "/v1/dead", Value::Null).await, (200, json!({})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_says_what_it_says_in_grpc() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let (status, error) = http.json("GET", "/v1/executions/none", Value::Null).await;
    assert_eq!((status, &error["code"]), (404, &json!("not_found")), "{error}");
    let mut client = instance.client().await;
    let request = v1::DescribeRequest { execution_id: "none".to_owned(), ..Default::default() };
    let told = client.executions.describe(request).await.expect_err("there is none");
    assert_eq!(error["message"], told.message());

    let none = json!({"executionId": "none"});
    let (status, refused) =
        http.json("POST", "/lazarus.v1.ExecutionService/Describe", none.clone()).await;
    assert_eq!((status, refused), (404, error));

    for (path, body, word) in [
        ("/lazarus.v1.ExecutionService/Start", json!({"workflw": "a"}), "workflw"),
        ("/v1/executions", json!({"workflow": 7}), "expected a string"),
        ("/v1/executions", json!([]), "StartRequest"),
        ("/v1/executions/a/cancel", json!({"execution_id": "b"}), "`execution_id` is given twice"),
        ("/v1/executions/a/cancel?reason=x", json!({"reason": "y"}), "`reason` is given twice"),
        ("/v1/executions/a/cancel?execution_id=b", json!({}), "`execution_id` is given twice"),
        ("/v1/executions/a/cancel?executionId=b", json!({}), "given twice in the address"),
        ("/v1/executions/a/cancel?nothing=b", json!({}), "the address is no CancelRequest"),
        ("/v1/executions/%ff/cancel", json!({}), "UTF-8"),
    ] {
        let (status, error) = http.json("POST", path, body.clone()).await;
        assert_eq!((status, &error["code"]), (400, &json!("invalid_argument")), "{path} {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(word), "{path} {body}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_of_ours_is_told_so() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let describe = "/lazarus.v1.ExecutionService/Describe";
    let history = "/lazarus.v1.ExecutionService/History";
    let json = ("content-type", "application/json");
    for (verb, path, headers, expected) in [
        ("GET", "/", vec![], 404),
        ("POST", "/lazarus.v1.ExecutionService/None", vec![json], 404),
        ("GET", describe, vec![], 405),
        ("DELETE", "/v1/executions", vec![], 405),
        // What a page of another site may send without asking first.
        ("POST", describe, vec![("content-type", "text/plain")], 415),
        ("POST", "/v1/executions", vec![("content-type", "text/plain")], 415),
        ("POST", "/v1/executions/a/cancel", vec![], 415),
        ("POST", history, vec![json], 415),
        ("POST", describe, vec![("content-type", "application/connect+json")], 415),
        ("POST", describe, vec![json, ("content-encoding", "gzip")], 501),
        ("POST", "/lazarus.v1.TaskService/Work", vec![json], 501),
        // `{}` is cut off in the middle of a field.
        ("POST", describe, vec![("content-type", "application/proto")], 400),
    ] {
        let (status, kind, body) = http.send(verb, path, &headers, "{}").await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, expected, "{verb} {path}: {body}");
        if kind != "application/connect+json" {
            assert!(body.starts_with("{\"code\":\""), "{verb} {path}: {body}");
        }
    }
}

/// An envelope of Connect or a frame of gRPC: flags, length, message.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The frames of a body.
fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = vec![];
    while let [flags, a, b, c, d, rest @ ..] = body {
        let (frame, left) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        frames.push((*flags, frame.to_vec()));
        body = left;
    }
    assert!(body.is_empty(), "half a frame is left");
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_come_whole_in_connect_and_in_grpc_web() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let mut client = instance.client().await;
    client.blueprint("orders", &[("charge", &[])]).await;
    let id = client.execute("orders", json!({})).await;
    let events = client.events(&id).await;
    let path = "/lazarus.v1.ExecutionService/History";

    let asked = framed(json!({"executionId": id}).to_string().as_bytes());
    let headers = [("content-type", "application/connect+json")];
    let (status, kind, body) = http.send("POST", path, &headers, asked).await;
    assert_eq!((status, kind.as_str()), (200, "application/connect+json"));
    let mut parts = frames(&body);
    assert_eq!(parts.pop(), Some((2, b"{}".to_vec())), "the end");
    let event = |part: &(u8, Vec<u8>)| {
        let reply: Value = serde_json::from_slice(&part.1).expect("JSON");
        serde_json::from_str(reply["eventJson"].as_str().expect("an event")).expect("JSON")
    };
    assert_eq!(parts.iter().map(event).collect::<Vec<Value>>(), events);

    let none = framed(br#"{"executionId":"none"}"#);
    let (status, _, body) = http.send("POST", path, &headers, none).await;
    let end = frames(&body).pop().expect("an end");
    assert_eq!((status, end.0), (200, 2));
    assert!(String::from_utf8_lossy(&end.1).contains("not_found"));

    let request = v1::HistoryRequest { execution_id: id.clone(), ..Default::default() };
    let asked = framed(&request.encode_to_vec());
    let headers = [("content-type", "application/grpc-web+proto")];
    let (status, _, body) = http.send("POST", path, &headers, asked).await;
    let mut parts = frames(&body);
    let (flags, trailers) = parts.pop().expect("trailers");
    assert_eq!((status, flags), (200, 0x80));
    assert!(String::from_utf8_lossy(&trailers).contains("grpc-status:0"));
    let event = |part: &(u8, Vec<u8>)| {
        let reply = v1::HistoryResponse::decode(&part.1[..]).expect("a message");
        serde_json::from_str(&reply.event_json).expect("JSON")
    };
    assert_eq!(parts.iter().map(event).collect::<Vec<Value>>(), events);

    let binary = v1::DescribeRequest { execution_id: id.clone(), ..Default::default() };
    let headers = [("content-type", "application/proto")];
    let path = "/lazarus.v1.ExecutionService/Describe";
    let (status, kind, body) = http.send("POST", path, &headers, binary.encode_to_vec()).await;
    assert_eq!((status, kind.as_str()), (200, "application/proto"));
    let described = v1::DescribeResponse::decode(&body[..]).expect("a message");
    assert_eq!(described.execution.expect("an execution").execution_id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_say_how_long_it_waits() {
    let instance = lone_instance().await;
    let http = Http::of(&instance);
    let poll = json!({"workerId": "w1", "timeoutMs": 20_000}).to_string();
    let headers = [("content-type", "application/json"), ("connect-timeout-ms", "300")];
    let path = format!("{WORKER}/PollForTask");
    let answering = http.send("POST", &path, &headers, poll);
    let answered = tokio::time::timeout(Duration::from_secs(10), answering).await;
    let (status, _, body) = answered.expect("an answer in time");
    assert_eq!(status, 504, "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("deadline_exceeded"));
}
