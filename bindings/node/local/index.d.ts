/** The path of the program `agentcore-local` for this platform. */
export declare const binary: string;
