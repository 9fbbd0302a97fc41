//! `org.signal.chat.device.Devices`.

use auth::{
    AccountService,
    capabilities::{Capabilities, Capability},
    device::{DeviceName, PushService, PushToken},
    devices::{DeviceInfo, DeviceList, RemoveDeviceError},
    settings::RenameError,
};
use bytes::Bytes;
use protocol::{DeviceId, keys::EcPublicKey};
use tonic::{Request, Response, Status};

use super::created_at::{self, NotSealed};
use crate::{
    grpc::{
        access,
        chat::{
            device::{
                ClearPushTokenRequest, ClearPushTokenResponse, GetDevicesRequest, GetDevicesResponse,
                RemoveDeviceRequest, RemoveDeviceResponse, SetCapabilitiesRequest, SetCapabilitiesResponse,
                SetDeviceNameRequest, SetDeviceNameResponse, SetPushTokenRequest, SetPushTokenResponse,
                devices_server, get_devices_response::LinkedDevice, set_device_name_response,
                set_push_token_request::TokenRequest,
            },
            errors::NotFound,
        },
        error,
    },
    services::Services,
    signal::accounts::grpc::status,
};

/// The service for devices that say who they are.
pub(crate) struct Devices(AccountService);

impl Devices {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self(services.parts().accounts.clone())
    }
}

#[tonic::async_trait]
impl devices_server::Devices for Devices {
    async fn get_devices(
        &self,
        request: Request<GetDevicesRequest>,
    ) -> Result<Response<GetDevicesResponse>, Status> {
        let DeviceList { identity_key, devices } =
            self.0.devices(&access::device(&request)?).await.map_err(status)?;
        let devices = devices.iter().map(|device| linked_device(device, identity_key.as_ref()));
        Ok(Response::new(GetDevicesResponse { devices: devices.collect::<Result<_, _>>()? }))
    }

    async fn remove_device(
        &self,
        request: Request<RemoveDeviceRequest>,
    ) -> Result<Response<RemoveDeviceResponse>, Status> {
        let id = device_id(request.get_ref().id)?;
        self.0.remove_device(&access::device(&request)?, id).await.map_err(|refusal| match refusal {
            RemoveDeviceError::NotPermitted => error::bad_authentication(),
            RemoveDeviceError::Primary => error::constraint_violated("id", "must not be the primary device"),
            RemoveDeviceError::Storage(cause) => error::storage(&cause),
        })?;
        Ok(Response::new(RemoveDeviceResponse {}))
    }

    async fn set_device_name(
        &self,
        request: Request<SetDeviceNameRequest>,
    ) -> Result<Response<SetDeviceNameResponse>, Status> {
        let device = access::device(&request)?;
        let SetDeviceNameRequest { name, id } = request.into_inner();
        let name = DeviceName::new(name.into())
            .ok_or_else(|| error::constraint_violated("name", "must be 1 to 225 bytes"))?;
        let response = match self.0.set_device_name(&device, device_id(id)?, name).await {
            Ok(()) => set_device_name_response::Response::Success(()),
            Err(RenameError::NoSuchDevice) => {
                set_device_name_response::Response::TargetDeviceNotFound(NotFound {})
            }
            Err(RenameError::NotPermitted) => return Err(error::bad_authentication()),
            Err(RenameError::Storage(cause)) => return Err(error::storage(&cause)),
        };
        Ok(Response::new(SetDeviceNameResponse { response: Some(response) }))
    }

    async fn set_push_token(
        &self,
        request: Request<SetPushTokenRequest>,
    ) -> Result<Response<SetPushTokenResponse>, Status> {
        let device = access::device(&request)?;
        let token = match request.into_inner().token_request {
            Some(TokenRequest::ApnsTokenRequest(token)) => {
                PushToken::new(PushService::Apns, token.apns_token)
            }
            Some(TokenRequest::FcmTokenRequest(token)) => PushToken::new(PushService::Fcm, token.fcm_token),
            None => None,
        };
        let token = token
            .ok_or_else(|| error::constraint_violated("token_request", "must be present and not too long"))?;
        self.0.set_push_token(&device, token).await.map_err(status)?;
        Ok(Response::new(SetPushTokenResponse {}))
    }

    async fn clear_push_token(
        &self,
        request: Request<ClearPushTokenRequest>,
    ) -> Result<Response<ClearPushTokenResponse>, Status> {
        self.0.fetch_without_push(&access::device(&request)?).await.map_err(status)?;
        Ok(Response::new(ClearPushTokenResponse {}))
    }

    async fn set_capabilities(
        &self,
        request: Request<SetCapabilitiesRequest>,
    ) -> Result<Response<SetCapabilitiesResponse>, Status> {
        let capabilities = capabilities(&request.get_ref().capabilities)?;
        self.0.set_capabilities(&access::device(&request)?, capabilities).await.map_err(status)?;
        Ok(Response::new(SetCapabilitiesResponse {}))
    }
}

fn linked_device(device: &DeviceInfo, identity_key: Option<&EcPublicKey>) -> Result<LinkedDevice, Status> {
    let sealed = identity_key
        .map(|key| created_at::seal(device, key))
        .transpose()
        .map_err(|NotSealed| Status::internal(""))?;
    Ok(LinkedDevice {
        id: device.id.get().into(),
        name: device.name.as_ref().map(|name| Bytes::copy_from_slice(name.as_bytes())).unwrap_or_default(),
        last_seen: device.last_seen.as_millis(),
        registration_id: device.registration_id.get().into(),
        created_at_ciphertext: sealed.unwrap_or_default().into(),
    })
}

fn device_id(id: u32) -> Result<DeviceId, Status> {
    DeviceId::try_from(id).map_err(|_| error::constraint_violated("id", "must be 1 to 127"))
}

fn capabilities(numbers: &[i32]) -> Result<Capabilities, Status> {
    let capability = |number: &i32| u8::try_from(*number).ok().and_then(Capability::from_number);
    let known: Option<Capabilities> = numbers.iter().map(capability).collect();
    known.ok_or_else(|| error::constraint_violated("capabilities", "there is an unknown one"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn numbers_that_stand_for_nothing_are_refused() {
        let all: Vec<_> = Capability::ALL.into_iter().map(|capability| capability.number().into()).collect();
        assert_eq!(capabilities(&all).unwrap(), Capability::ALL.into_iter().collect());
        assert_eq!(capabilities(&[]).unwrap(), Capabilities::default());
        for unknown in [0, 3, 11, 257, -1] {
            assert_eq!(capabilities(&[1, unknown]).unwrap_err().code(), Code::InvalidArgument);
        }
        for unknown in [0, 128] {
            assert_eq!(device_id(unknown).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}
