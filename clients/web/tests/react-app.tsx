// An app in React 19; it is compiled, not run.

import type { Session } from "@musetalk-stream/web";
import type {} from "@musetalk-stream/web/react";
import type { ReactNode } from "react";

export function Talk({ session, isMuted }: { session?: Session; isMuted: boolean }): ReactNode {
  return (
    <musetalk-avatar
      className="face"
      session={session}
      muted={isMuted}
      fit="cover"
      onspeech_ended={({ detail }) => console.log(detail.reason)}
    />
  );
}

// @ts-expect-error: no such choice
export const mistake = <musetalk-avatar fit="wide" />;
