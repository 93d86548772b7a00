//! Which deployments need approval.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_specs::Spec;

use crate::{SHOP, changes, deployed, object, open_the_database, pause, rehearsal, run, unprotected, with};

/// Waits for a request for approval, and replies.
pub(crate) async fn answer(rehearsal: &Rehearsal, approved: bool) -> Value {
    for _ in 0..600 {
        if let Some(request) = object(rehearsal, "stacks/shop/approval.json").await {
            // The simulator takes a token once the function that wrote it has ended.
            pause(Duration::from_secs(5)).await;
            let reply = json!({ "approved": approved, "plan": request["plan"] });
            let call =
                rehearsal.aws().sfn().send_task_success().task_token(request["token"].as_str().unwrap());
            call.output(reply.to_string()).send().await.unwrap();
            return request;
        }
        pause(Duration::from_secs(1)).await;
    }
    panic!("approval is not requested");
}

/// Deploys a spec that awaits approval, and returns the reasons.
pub(crate) async fn approved(rehearsal: &Rehearsal, spec: &str) -> Value {
    let (deployed, request) =
        tokio::join!(async { rehearsal.deploy(spec, &()).await.unwrap() }, answer(rehearsal, true));
    assert_eq!(deployed.result(), Outcome::Succeeded, "{:?}", deployed.error());
    request["reasons"].clone()
}

#[tokio::test(start_paused = true)]
async fn leaving_the_line_out_does_not_avoid_approval_and_the_approved_spec_decides_next() {
    let required = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&required);
    assert_eq!(approved(&rehearsal, &required).await, json!([{ "because": "spec" }]));
    let without = with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: debug");
    assert_eq!(approved(&rehearsal, &without).await, json!([{ "because": "last-good-spec" }]));
    // The spec that was approved needs none.
    deployed(&rehearsal, &with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: warn")).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_out_only_the_line_needs_approval_too() {
    let required = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&required);
    approved(&rehearsal, &required).await;
    let dropped = async { rehearsal.deploy(SHOP, &()).await.unwrap() };
    let (rejected, request) = tokio::join!(dropped, answer(&rehearsal, false));
    assert_eq!(request["reasons"], json!([{ "because": "last-good-spec" }]));
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["spec"]["approval"], "required");
    // Once it is approved, the next one needs none.
    approved(&rehearsal, SHOP).await;
    deployed(&rehearsal, &with(SHOP, "LOG_LEVEL: info", "LOG_LEVEL: debug")).await;
}

#[tokio::test(start_paused = true)]
async fn the_installation_requires_approval_by_patterns_of_names() {
    let demanding = |patterns: &str| {
        let parameters = [("ApprovalFor".to_owned(), patterns.to_owned())].into();
        let setting = Setting { parameters, ..Setting::default() };
        Rehearsal::open(&setting, &[&Spec::read(SHOP.as_bytes()).unwrap()]).unwrap()
    };
    let rehearsal = demanding("prod-*,sh*");
    assert_eq!(approved(&rehearsal, SHOP).await, json!([{ "because": "installation" }]));
    deployed(&demanding("prod-*,shop-*"), SHOP).await;
}

#[tokio::test(start_paused = true)]
async fn a_requested_plan_says_that_a_deployment_needs_approval() {
    let required = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&required);
    let event = rehearsal.upload("plans/shop.yaml", required.as_bytes()).await.unwrap();
    let planned = run(&rehearsal, event).await;
    assert_eq!((planned.result(), changes(&planned)), (Outcome::Planned, Vec::new()));
    let record = object(&rehearsal, "stacks/shop/plan.json").await.unwrap();
    let message = record["message"].as_str().unwrap();
    assert!(message.contains("A deployment needs approval: the spec has `approval: required`."), "{message}");
    assert!(message.contains(record["planId"].as_str().unwrap()), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_destroy_of_a_stack_whose_spec_requires_approval_awaits_it_and_shows_what_is_lost() {
    let spec = with(&unprotected(), "approval: none", "approval: required");
    let rehearsal = rehearsal(&spec);
    approved(&rehearsal, &spec).await;
    let destroy = json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] });
    let (rejected, request) = tokio::join!(run(&rehearsal, destroy), answer(&rehearsal, false));
    assert_eq!((rejected.result(), changes(&rejected)), (Outcome::ApprovalRejected, Vec::new()));
    let reasons = json!([{ "because": "spec" }]);
    assert_eq!((&request["destroying"], &request["reasons"]), (&json!(true), &reasons));
    let effects = request["effects"].to_string();
    for lost in
        ["shop-instance", "shop-database", "addresses of the NAT gateways", "the logs of all services"]
    {
        assert!(effects.contains(lost), "{lost}: {effects}");
    }
    assert_eq!(request["facts"], Value::Null, "the effects say what is lost");
    let messages = rehearsal.account().messages();
    let requests = messages.iter().filter(|one| one.message.contains("awaiting-approval"));
    let destroys: Vec<bool> = requests.map(|one| one.message.contains("It DESTROYS the stack.")).collect();
    assert_eq!(destroys, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn requests_need_the_approval_that_the_deployed_spec_requires() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let earlier = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap()["version"].clone();
    approved(&rehearsal, &with(SHOP, "approval: none", "approval: required")).await;
    // An earlier version without the line, and a repair.
    let requests = [
        json!({ "stack": "shop", "version": earlier }),
        json!({ "stack": "shop", "action": "redeploy" }),
        json!({ "stack": "shop", "action": "redeploy", "scheduled": true }),
    ];
    open_the_database(&rehearsal).await;
    for request in requests {
        let (rejected, _) = tokio::join!(run(&rehearsal, request.clone()), answer(&rehearsal, false));
        assert_eq!(rejected.result(), Outcome::ApprovalRejected, "{request}");
        assert_eq!(changes(&rejected), Vec::<String>::new(), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_with_a_spec_is_part_of_the_plans_id() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let plan = async |request: Value| {
        run(&rehearsal, request).await;
        object(&rehearsal, "stacks/shop/plan.json").await.unwrap()["planId"].clone()
    };
    let first = plan(json!({ "stack": "shop", "action": "plan" })).await;
    assert_eq!(plan(json!({ "stack": "shop", "action": "plan" })).await, first);
    for (key, value) in [("refreshImage", json!(true)), ("deleteData", json!(["shop-instance"]))] {
        let mut request = json!({ "stack": "shop", "action": "plan" });
        request[key] = value;
        assert_ne!(plan(request).await, first, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_changes_only_what_happens_later_needs_approval() {
    let required = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&required);
    approved(&rehearsal, &required).await;
    // Nothing of the account changes now, but the next deletion would.
    let later = with(&required, "onDelete: retain", "onDelete: destroy");
    let changed = async { rehearsal.deploy(&later, &()).await.unwrap() };
    let (rejected, _) = tokio::join!(changed, answer(&rehearsal, false));
    assert_eq!(rejected.result(), Outcome::ApprovalRejected);
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["spec"]["onDelete"], "retain");
}

#[tokio::test(start_paused = true)]
async fn a_report_does_not_make_another_spec_the_deployed_one() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let later = with(SHOP, "onDelete: retain", "onDelete: destroy");
    rehearsal.upload("specs/shop.yaml", later.as_bytes()).await.unwrap();
    let reported = run(&rehearsal, json!({ "stack": "shop", "drift": "report" })).await;
    assert_eq!(reported.result(), Outcome::Succeeded, "{:?}", reported.error());
    let baseline = object(&rehearsal, "stacks/shop/baseline.json").await.unwrap();
    assert_eq!(baseline["spec"]["onDelete"], "retain");
}
