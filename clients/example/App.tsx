import { deleteSession, type Session } from "@musetalk-stream/react-native";
import { useState, type ReactElement } from "react";
import { Platform, StatusBar, StyleSheet, View } from "react-native";

import type { Choice } from "./src/backend";
import { StartScreen } from "./src/StartScreen";
import { TalkScreen } from "./src/TalkScreen";
import { colors } from "./src/theme";

const FIRST_CHOICE: Choice = {
  // The machine that an emulator runs on. A phone needs its address in the network.
  server: Platform.select({ android: "http://10.0.2.2:8000", default: "http://localhost:8000" }),
  avatarId: "",
  apiKey: "",
};

export default function App(): ReactElement {
  const [choice, setChoice] = useState(FIRST_CHOICE);
  const [session, setSession] = useState<Session | null>(null);
  const [notice, setNotice] = useState<string | null>(null);

  function end(why: string | null): void {
    // A server that is not told keeps it for a quarter of an hour.
    if (session) deleteSession(choice.server, session).catch(() => undefined);
    setSession(null);
    setNotice(why);
  }

  return (
    <View style={styles.app}>
      <StatusBar barStyle="light-content" />
      {session ? (
        <TalkScreen choice={choice} session={session} onEnd={end} />
      ) : (
        <StartScreen
          choice={choice}
          notice={notice}
          onChoice={setChoice}
          onSession={setSession}
        />
      )}
    </View>
  );
}

const styles = StyleSheet.create({
  app: { flex: 1, backgroundColor: colors.background },
});
