import { Chat } from "@/components/Chat";
import { Login } from "@/components/Login";
import { isLoggedIn, usersLogIn } from "@/lib/login";

export const dynamic = "force-dynamic";

export default async function Page() {
  return usersLogIn() && !(await isLoggedIn()) ? <Login /> : <Chat canLeave={usersLogIn()} />;
}
