//! An account on a loopback port, with clients outside like the AWS CLI.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use std::net::SocketAddr;

use aws_config::SdkConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use stackdrop_simulator::{Account, Ending, Fault, FaultKind, Options, Seed, When, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves an account a thousand times faster than AWS: these tests run in real time.
async fn open() -> (Account, SocketAddr) {
    let account = Account::open(&Options { scale: 0.001, ..Options::default() }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(account.clone(), listener));
    (account, address)
}

/// An SDK with its own HTTP client.
fn outside(account: &Account, address: SocketAddr) -> SdkConfig {
    let mut config = common::sdk(account).into_builder().endpoint_url(format!("http://{address}"));
    config.set_http_client(None);
    config.build()
}

/// Sends bytes, and returns the response until the connection is closed.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with a signature for a service, which is not verified.
fn request(method: &str, path: &str, service: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/eu-central-1/{service}/aws4_request, SignedHeaders=host, \
         Signature=0\r\n{headers}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_unmodified_client_outside_the_process_reaches_the_account() {
    let (account, address) = open().await;
    account.seed(&Seed::Bucket { name: "drops".into() });
    let config = outside(&account, address);
    let vpc = aws_sdk_ec2::Client::new(&config).create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap();
    assert!(vpc.vpc().unwrap().vpc_id().is_some());
    assert_eq!(account.inventory()[0].kind, "AWS::EC2::VPC");

    let s3 = aws_sdk_s3::Client::new(&config);
    // More than the usual limit of web servers.
    let body = ByteStream::from(vec![b'x'; 3 << 20]);
    s3.put_object().bucket("drops").key("specs/a b+ü.yaml").body(body).send().await.unwrap();
    let got = s3.get_object().bucket("drops").key("specs/a b+ü.yaml").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec().len(), 3 << 20);
    let head = s3.head_object().bucket("drops").key("specs/a b+ü.yaml").send().await.unwrap();
    assert_eq!(head.content_length(), Some(3 << 20));
    let missing = s3.head_object().bucket("drops").key("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_not_found());
    let unknown = aws_sdk_sts::Client::new(&config).get_session_token().send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("InvalidAction"));
}

#[tokio::test]
async fn a_lost_connection_shows_as_a_bad_gateway() {
    let (account, address) = open().await;
    account.arm(Fault::at("sts", "GetCallerIdentity", When::Only(1), FaultKind::LostBefore));
    let sts = aws_sdk_sts::Client::new(&outside(&account, address));
    let lost = sts.get_caller_identity().send().await.unwrap_err();
    assert_eq!(lost.raw_response().unwrap().status().as_u16(), 502);
    sts.get_caller_identity().send().await.unwrap();
    let endings: Vec<Ending> = account.call_log().into_iter().map(|call| call.ending).collect();
    assert_eq!(endings, [Ending::LostBefore, Ending::Done]);
}

#[tokio::test]
async fn a_caller_outside_can_give_its_name() {
    let (account, address) = open().await;
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let answer =
        exchange(address, request("POST", "/", "sts", "x-stackdrop-caller: by-hand\r\n", body).as_bytes())
            .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("<Account>123456789012</Account>"), "{answer}");
    assert_eq!(account.call_log()[0].caller, "by-hand");
    // Form parameters can also be in the query string.
    let path = format!("/?{body}");
    let answer = exchange(address, request("GET", &path, "sts", "", "").as_bytes()).await;
    assert!(answer.contains("<Account>123456789012</Account>"), "{answer}");
}

#[tokio::test]
async fn requests_to_unknown_services_are_refused() {
    let (_, address) = open().await;
    let cases = [
        ("no signature", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "403"),
        ("a service that is not simulated", request("POST", "/", "lambda", "", "{}"), "403"),
        ("no action", request("POST", "/", "ec2", "", "Version=2016-11-15"), "400"),
        (
            "no JSON",
            request(
                "POST",
                "/",
                "ecs",
                "x-amz-target: AmazonEC2ContainerServiceV20141113.ListClusters\r\n",
                "{",
            ),
            "400",
        ),
        (
            "another target",
            request("POST", "/", "ecs", "x-amz-target: AmazonSSM.GetParameter\r\n", "{}"),
            "400",
        ),
        ("a path that is none", request("GET", "/nothing/at/all", "scheduler", "", ""), "400"),
    ];
    for (what, request, status) in cases {
        let answer = exchange(address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_decoding() {
    let (account, address) = open().await;
    let body = format!("Action=DescribeVpcs&Version={}", "x".repeat(1 << 20));
    let answer = exchange(address, request("POST", "/", "ec2", "", &body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{}", &answer[..200.min(answer.len())]);
    assert!(answer.contains("<Code>RequestEntityTooLarge</Code>"), "{answer}");
    assert_eq!(account.calls(), 0);
}

#[tokio::test]
async fn an_event_that_is_refused_fails_alone() {
    let (account, address) = open().await;
    let entry = |source: &str, kind: &str, detail: &str, bus: &str| serde_json::json!({ "Source": source, "DetailType": kind, "Detail": detail, "EventBusName": bus });
    let put = async |entries: Vec<serde_json::Value>| {
        let body = serde_json::json!({ "Entries": entries }).to_string();
        let target = "x-amz-target: AWSEvents.PutEvents\r\n";
        let answer = exchange(address, request("POST", "/", "events", target, &body).as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str::<serde_json::Value>(body).unwrap())
    };
    let good = || entry("stackdrop", "Deployment", "{}", "default");
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(262_144));
    let (head, answer) = put(vec![
        entry("", "Deployment", "{}", "default"),
        entry("stackdrop", "", "{}", "default"),
        entry("stackdrop", "Deployment", "", "default"),
        entry("aws.rds", "Deployment", "{}", "default"),
        entry("stackdrop", "Deployment", "{}", "other"),
        entry("stackdrop", "Deployment", "[]", "default"),
        entry("stackdrop", "Deployment", "{", "default"),
        entry("stackdrop", "Deployment", &long, "default"),
        good(),
    ])
    .await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(answer["FailedEntryCount"], 8);
    let codes: Vec<&str> = answer["Entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["ErrorCode"].as_str().unwrap_or(""))
        .collect();
    let argument = "InvalidArgument";
    assert_eq!(
        codes,
        [
            argument,
            argument,
            argument,
            "NotAuthorizedForSourceException",
            "ResourceNotFoundException",
            "MalformedDetail",
            "MalformedDetail",
            argument,
            "",
        ]
    );
    for entries in [vec![], vec![good(); 11]] {
        assert!(put(entries).await.0.starts_with("HTTP/1.1 400"));
    }
    assert_eq!(account.events().len(), 1, "the one that was accepted");
}
