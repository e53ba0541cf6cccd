// Users who log in at Amazon Cognito, for a runtime with a JWT authorizer: their access token is
// forwarded, and the runtime checks it (the user pool's discovery URL, and this client id among the
// allowed clients). Without COGNITO_CLIENT_ID nobody logs in, and calls are signed by this server's role.
import { InvalidInputError, readJson } from "agentcore-client";
import { cookies } from "next/headers";
import { refuseOtherSites } from "./origin";
import { COOKIE_OPTIONS } from "./session";

const COOKIE = "__Host-token";

export function usersLogIn(): boolean {
  return process.env.COGNITO_CLIENT_ID !== undefined;
}

/** The token in this request's cookie, and whose it is. */
export async function tokenOfUser(): Promise<{ id: string; token: string }> {
  const token = (await cookies()).get(COOKIE)?.value;
  const claims = token === undefined ? undefined : claimsOf(token);
  if (token === undefined || claims === undefined || claims.exp * 1000 <= Date.now()) {
    throw unauthorized("absent or expired; must be a user's token");
  }
  return { id: claims.sub, token };
}

export async function isLoggedIn(): Promise<boolean> {
  return tokenOfUser().then(
    () => true,
    () => false,
  );
}

/**
 * Exchanges a name and a password for a token (the app client allows ALLOW_USER_PASSWORD_AUTH). With
 * Cognito's own login page it would be an authorization code, which is exchanged in the same way.
 */
export async function logIn(request: Request): Promise<void> {
  refuseOtherSites(request);
  const body = await readJson<{ username?: unknown; password?: unknown } | null>(request, {
    limit: 4_000,
  });
  if (typeof body?.username !== "string" || typeof body.password !== "string") {
    throw new InvalidInputError("username: absent; must be text", {
      delivery: "not_sent",
      field: "username",
    });
  }
  const { COGNITO_CLIENT_ID, COGNITO_REGION, COGNITO_ENDPOINT } = process.env;
  const answer = await fetch(
    COGNITO_ENDPOINT ?? `https://cognito-idp.${COGNITO_REGION}.amazonaws.com/`,
    {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth",
      },
      body: JSON.stringify({
        AuthFlow: "USER_PASSWORD_AUTH",
        ClientId: COGNITO_CLIENT_ID,
        AuthParameters: { USERNAME: body.username, PASSWORD: body.password },
      }),
      signal: AbortSignal.timeout(10_000),
    },
  );
  const told = (await answer.json().catch(() => ({}))) as {
    AuthenticationResult?: { AccessToken: string; ExpiresIn: number };
  };
  if (answer.status >= 500) throw new Error(`Cognito answers ${answer.status}`);
  // A wrong password; or a challenge, such as a second factor, that this example has no page for.
  if (told.AuthenticationResult === undefined) {
    throw unauthorized("Cognito grants none; must be that of a user who gave the right password");
  }
  const { AccessToken, ExpiresIn } = told.AuthenticationResult;
  (await cookies()).set(COOKIE, AccessToken, { ...COOKIE_OPTIONS, maxAge: ExpiresIn });
}

/** The error that `errorResponse` answers with 401. */
function unauthorized(why: string): InvalidInputError {
  return new InvalidInputError(`bearerToken: ${why}`, {
    delivery: "not_sent",
    field: "bearerToken",
  });
}

export async function logOut(request: Request): Promise<void> {
  refuseOtherSites(request);
  (await cookies()).set(COOKIE, "", { ...COOKIE_OPTIONS, maxAge: 0 });
}

/** Not verified here: that the runtime does, before anything runs with it. */
function claimsOf(token: string): { sub: string; exp: number } | undefined {
  try {
    const { sub, exp } = JSON.parse(
      Buffer.from(token.split(".")[1] ?? "", "base64url").toString(),
    ) as Record<string, unknown>;
    return typeof sub === "string" && typeof exp === "number" ? { sub, exp } : undefined;
  } catch {
    return undefined;
  }
}
