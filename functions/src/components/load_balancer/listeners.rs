//! The listeners: HTTPS on port 443, and on port 80 a redirect to HTTPS.

use aws_sdk_elasticloadbalancingv2::operation::create_listener::builders::CreateListenerFluentBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, Listener, ProtocolEnum,
    RedirectActionConfig, RedirectActionStatusCodeEnum,
};

use super::NAME;
use super::balancer::Handle;
use super::observed::{ABSENT, Observed, Tagged, elb_tags, repair_tags};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::ports::{HTTP, HTTPS};
use crate::deployment::plan::{Plan, Verb};

pub(super) const HTTPS_PORT: i32 = HTTPS as i32;
pub(super) const HTTP_PORT: i32 = HTTP as i32;
pub(super) const HTTPS_LOGICAL_ID: &str = "listener/https";
pub(super) const HTTP_LOGICAL_ID: &str = "listener/http";

/// TLS 1.2 and 1.3 with forward secrecy, which AWS recommends.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";
/// The response to a request without a route.
const NOT_FOUND: (&str, &str, &str) = ("404", "text/plain", "There is nothing at this address.");

/// The error codes for a certificate that was just issued and is not visible yet (Terraform waits five minutes).
const CERTIFICATE_NOT_VISIBLE: [&str; 2] = ["CertificateNotFound", "UnsupportedCertificate"];

fn not_found() -> Action {
    let (status, kind, text) = NOT_FOUND;
    let response = FixedResponseActionConfig::builder()
        .status_code(status)
        .content_type(kind)
        .message_body(text)
        .build();
    Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(response).build()
}

fn to_https() -> Action {
    let redirect = RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port(HTTPS_PORT.to_string())
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build();
    Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(redirect).build()
}

/// The fields of a listener that differ: name, actual and desired value. The certificate is compared if it is known.
fn differing(detail: &Listener, certificate: Option<&str>) -> Vec<(&'static str, String, String)> {
    let mut fields = Vec::new();
    let mut compare = |field, from: &str, to: &str| {
        if from != to {
            fields.push((field, from.to_owned(), to.to_owned()));
        }
    };
    let protocol = detail.protocol().map_or("", ProtocolEnum::as_str);
    if detail.port() == Some(HTTPS_PORT) {
        compare("protocol", protocol, "HTTPS");
        compare("sslPolicy", detail.ssl_policy().unwrap_or_default(), TLS_POLICY);
        let actual = detail.certificates().first().and_then(Certificate::certificate_arn).unwrap_or_default();
        compare("certificate", actual, certificate.unwrap_or(actual));
        compare("defaultAction", &describe(detail), "404");
    } else {
        compare("protocol", protocol, "HTTP");
        compare("defaultAction", &describe(detail), "redirect to HTTPS");
    }
    fields
}

/// Describes a listener's default action. Equal actions have equal descriptions.
fn describe(detail: &Listener) -> String {
    let [action] = detail.default_actions() else { return "several actions".into() };
    if let Some(response) = action.fixed_response_config() {
        let actual = (
            response.status_code().unwrap_or_default(),
            response.content_type().unwrap_or_default(),
            response.message_body().unwrap_or_default(),
        );
        return if actual == NOT_FOUND { "404".into() } else { format!("another response, {}", actual.0) };
    }
    if let Some(redirect) = action.redirect_config() {
        let unchanged = |actual: Option<&str>, form: &str| actual.is_none_or(|actual| actual == form);
        let ours = redirect.protocol() == Some("HTTPS")
            && redirect.port() == Some(&*HTTPS.to_string())
            && redirect.status_code() == Some(&RedirectActionStatusCodeEnum::Http301)
            && unchanged(redirect.host(), "#{host}")
            && unchanged(redirect.path(), "/#{path}")
            && unchanged(redirect.query(), "#{query}");
        return if ours { "redirect to HTTPS".into() } else { "another redirect".into() };
    }
    action.r#type().map_or("none", ActionTypeEnum::as_str).to_owned()
}

fn redirects(work: &Work<'_>) -> bool {
    work.spec.load_balancer.as_ref().is_some_and(|desired| desired.redirect_http)
}

pub(super) fn plan(work: &Work<'_>, observed: &Observed, certificate: Option<&str>, plan: &mut Plan) {
    let desired = [(HTTPS_PORT, HTTPS_LOGICAL_ID, true), (HTTP_PORT, HTTP_LOGICAL_ID, redirects(work))];
    for (port, logical_id, desired) in desired {
        match (observed.listeners.get(&port), desired) {
            (None, true) => {
                plan.change(Verb::Create, logical_id);
            }
            (Some(listener), true) => {
                for (field, from, to) in differing(&listener.detail, certificate) {
                    plan.update(logical_id, field, from, to);
                }
                plan.tags(&work.stack, NAME, logical_id, &listener.tags);
            }
            (Some(_), false) => {
                plan.change(Verb::Delete, logical_id);
            }
            (None, false) => {}
        }
    }
}

/// Creates, updates or deletes the listeners. Returns the HTTPS listener's ARN, once its certificate is issued.
pub(super) async fn apply(
    work: &Work<'_>,
    observed: &Observed,
    handle: &Handle,
    certificate: Option<&str>,
) -> Result<Option<String>, StepError> {
    let https = async {
        match (certificate, observed.listeners.get(&HTTPS_PORT)) {
            (Some(certificate), None) => create_https(work, handle, certificate).await.map(Some),
            (certificate, Some(listener)) => {
                update(work, listener, HTTPS_LOGICAL_ID, certificate).await.map(Some)
            }
            (None, None) => Ok(None),
        }
    };
    let http = async {
        match (redirects(work), observed.listeners.get(&HTTP_PORT)) {
            (true, None) => create_http(work, handle).await.map(drop),
            (true, Some(listener)) => update(work, listener, HTTP_LOGICAL_ID, None).await.map(drop),
            (false, Some(listener)) => delete(work, listener).await,
            (false, None) => Ok(()),
        }
    };
    let (https, http) = tokio::join!(https, http);
    http?;
    https
}

async fn create_https(work: &Work<'_>, handle: &Handle, certificate: &str) -> Result<String, StepError> {
    let call = new(work, handle, HTTPS_LOGICAL_ID)
        .port(HTTPS_PORT)
        .protocol(ProtocolEnum::Https)
        .ssl_policy(TLS_POLICY)
        .certificates(Certificate::builder().certificate_arn(certificate).build())
        .default_actions(not_found());
    create(call, HTTPS_LOGICAL_ID).await
}

async fn create_http(work: &Work<'_>, handle: &Handle) -> Result<String, StepError> {
    let call = new(work, handle, HTTP_LOGICAL_ID);
    create(call.port(HTTP_PORT).protocol(ProtocolEnum::Http).default_actions(to_https()), HTTP_LOGICAL_ID)
        .await
}

fn new(work: &Work<'_>, handle: &Handle, logical_id: &str) -> CreateListenerFluentBuilder {
    let call = work.aws.elb().create_listener().load_balancer_arn(&handle.arn);
    call.set_tags(Some(elb_tags(work.stack.tags(NAME, logical_id))))
}

async fn create(call: CreateListenerFluentBuilder, logical_id: &str) -> Result<String, StepError> {
    let response = call.send().await.unless(&CERTIFICATE_NOT_VISIBLE);
    let response = match response {
        Ok(None) => return Err(certificate_not_visible()),
        Ok(Some(response)) => Ok(response),
        Err(refusal) => Err(refusal),
    };
    let not_visible = [&ABSENT[..], &["DuplicateListener"]].concat();
    let response = response.pending_on(
        &not_visible,
        "the load balancer and its listeners to become visible",
        format!("creating listener {logical_id}"),
    )?;
    let arn = response.listeners().first().and_then(Listener::listener_arn);
    let arn = arn.ok_or_else(|| StepError::incomplete("the listener's ARN"))?;
    tracing::info!(arn, logical_id, "Listener created.");
    Ok(arn.to_owned())
}

fn certificate_not_visible() -> StepError {
    StepError::pending("the certificate to become visible to Elastic Load Balancing")
}

async fn update(
    work: &Work<'_>,
    listener: &Tagged<Listener>,
    logical_id: &str,
    certificate: Option<&str>,
) -> Result<String, StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    repair_tags(work, arn, logical_id, &listener.tags).await?;
    if differing(&listener.detail, certificate).is_empty() {
        return Ok(arn.to_owned());
    }
    let call = work.aws.elb().modify_listener().listener_arn(arn);
    let call = if logical_id == HTTPS_LOGICAL_ID {
        let actual = listener.detail.certificates().first().and_then(Certificate::certificate_arn);
        let certificate =
            certificate.or(actual).map(|arn| vec![Certificate::builder().certificate_arn(arn).build()]);
        call.protocol(ProtocolEnum::Https)
            .ssl_policy(TLS_POLICY)
            .set_certificates(certificate)
            .default_actions(not_found())
    } else {
        call.protocol(ProtocolEnum::Http).default_actions(to_https())
    };
    match call
        .send()
        .await
        .unless(&CERTIFICATE_NOT_VISIBLE)
        .doing(format!("updating listener {logical_id} ({arn})"))?
    {
        Some(_) => tracing::info!(arn, logical_id, "Listener updated."),
        None => return Err(certificate_not_visible()),
    }
    Ok(arn.to_owned())
}

async fn delete(work: &Work<'_>, listener: &Tagged<Listener>) -> Result<(), StepError> {
    let arn = listener.detail.listener_arn().unwrap_or_default();
    let call = work.aws.elb().delete_listener().listener_arn(arn).send().await;
    call.unless(&ABSENT).doing(format!("deleting listener {arn}"))?;
    tracing::info!(arn, "Listener deleted.");
    Ok(())
}
