//! `GET /v2/accounts/data_report`: what the server knows of an account, for its owner to read.

use std::fmt::Write as _;

use auth::{
    AccountService,
    settings::{DataReport, DeviceReport},
};
use axum::{Json, extract::State};
use protocol::{DeviceId, PhoneNumber};
use serde::Serialize;
use uuid::Uuid;

use super::refuse;
use crate::{caller::AuthenticatedDevice, reply::Refusal};

/// The report, for programs and (`text`) for people.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataReportBody {
    report_id: Uuid,
    report_timestamp: String,
    data: Data,
    pub(super) text: String,
}

#[derive(Serialize)]
struct Data {
    account: AccountData,
    devices: Vec<DeviceData>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountData {
    phone_number: Option<PhoneNumber>,
    badges: [(); 0],
    allow_sealed_sender_from_anyone: bool,
    find_account_by_phone_number: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceData {
    id: DeviceId,
    last_seen: String,
    created: String,
    user_agent: Option<String>,
}

pub(super) async fn show(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<Json<DataReportBody>, Refusal> {
    let report = accounts.data_report(&device).await.map_err(refuse)?;
    Ok(Json(report.into()))
}

impl From<DataReport> for DataReportBody {
    fn from(report: DataReport) -> Self {
        let data = Data {
            account: AccountData {
                phone_number: report.number,
                badges: [],
                allow_sealed_sender_from_anyone: report.unrestricted_unidentified_access,
                find_account_by_phone_number: report.discoverable,
            },
            devices: report.devices.into_iter().map(DeviceData::from).collect(),
        };
        let report_timestamp = report.at.to_rfc3339();
        Self { report_id: report.id, text: text(report.id, &report_timestamp, &data), report_timestamp, data }
    }
}

impl From<DeviceReport> for DeviceData {
    fn from(device: DeviceReport) -> Self {
        Self {
            id: device.id,
            last_seen: device.last_seen.to_rfc3339(),
            created: device.created.to_rfc3339(),
            user_agent: device.agent.map(|agent| agent.as_str().to_owned()),
        }
    }
}

fn text(id: Uuid, at: &str, Data { account, devices }: &Data) -> String {
    let yes_no = |flag: bool| if flag { "yes" } else { "no" };
    let mut text = format!(
        "Report {id} of {at}\n\nAccount\n  Phone number: {}\n  Everyone may send with sealed sender: {}\n  \
         Can be found by phone number: {}\n  Badges: none\n\nDevices\n",
        account.phone_number.as_ref().map_or("none", PhoneNumber::as_str),
        yes_no(account.allow_sealed_sender_from_anyone),
        yes_no(account.find_account_by_phone_number),
    );
    for device in devices {
        let agent = device.user_agent.as_deref().unwrap_or("unknown");
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  Device {}\n    Added: {}\n    Last seen on the day of: {}\n    Software: {agent}\n",
            device.id, device.created, device.last_seen,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::ambient::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_report_has_the_documented_keys() {
        let id = Uuid::nil();
        let body = DataReportBody::from(DataReport {
            id,
            at: Timestamp::from_millis(0),
            number: Some("+15550100001".parse().unwrap()),
            unrestricted_unidentified_access: false,
            discoverable: true,
            devices: vec![DeviceReport {
                id: DeviceId::PRIMARY,
                last_seen: Timestamp::from_millis(0),
                created: Timestamp::from_millis(1000),
                agent: None,
            }],
        });
        assert!(body.text.contains("+15550100001") && body.text.contains("Device 1"));
        let mut json = serde_json::to_value(&body).unwrap();
        json["text"] = Value::Null;
        let expected = json!({
            "reportId": "00000000-0000-0000-0000-000000000000",
            "reportTimestamp": "1970-01-01T00:00:00Z",
            "data": {
                "account": {
                    "phoneNumber": "+15550100001",
                    "badges": [],
                    "allowSealedSenderFromAnyone": false,
                    "findAccountByPhoneNumber": true,
                },
                "devices": [{
                    "id": 1,
                    "lastSeen": "1970-01-01T00:00:00Z",
                    "created": "1970-01-01T00:00:01Z",
                    "userAgent": null,
                }],
            },
            "text": null,
        });
        assert_eq!(json, expected);
    }
}
